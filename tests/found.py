"""What long checks found, kept in docs/gate/ with when and of which files: `make scoreboard` shows it, and
`make soak` goes on where it was stopped, on another machine too."""

import datetime
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "docs" / "gate"
# No check is about these, and some write them.
APART = (":!docs", ":!CHANGELOG.md")


def tree() -> str | None:
    """Names the files as committed, docs apart; None where some are changed, or git knows of none."""
    changed, files = (
        subprocess.run(["git", *words, "--", ".", *APART], cwd=ROOT, capture_output=True, check=False)
        for words in (["status", "--porcelain"], ["ls-files", "--stage"])
    )
    if changed.returncode or changed.stdout:
        return None
    return hashlib.sha256(files.stdout).hexdigest()[:12]


def keep(name: str, of: str | None, /, **found: Any) -> None:
    """``of``: the tree when the check began; if it is another now, it is of none."""
    PLACE.mkdir(exist_ok=True)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    record = {"date": date, "tree": of if of == tree() else None, **found}
    (PLACE / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


def forget(name: str) -> None:
    (PLACE / f"{name}.json").unlink(missing_ok=True)


def kept(name: str) -> dict[str, Any] | None:
    path = PLACE / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def passed(name: str, of: str | None) -> dict[str, str]:
    """Of a check of many things that was stopped: what passed on these files, and how."""
    record = kept(f"{name}-passed")
    return record["passed"] if record and of and record["tree"] == of else {}


def passing(name: str, of: str | None, passed: dict[str, str]) -> None:
    """As ``passed`` is to know it; not where some files are changed."""
    if of is not None:
        keep(f"{name}-passed", of, passed=passed)


def current(name: str) -> dict[str, Any] | None:
    """What was found of these very files."""
    record = kept(name)
    return record if record is not None and record["tree"] is not None and record["tree"] == tree() else None
