"""The scoreboard: every row measured here and now, into docs/scoreboard.md and docs/scoreboard.json.

Run: python tests/scoreboard.py [--long] [ROW …]. Rows that take long are read from what their checks kept of
these very files (`make soak`), or measured with --long; else the page says so, and what they gave last. A row
that was not measured has not passed. Exit code 1 if any row that was measured failed.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import found

ROOT = Path(__file__).parent.parent
PAGE, RECORD = ROOT / "docs" / "scoreboard.md", ROOT / "docs" / "scoreboard.json"
PACKAGES = ("assocmem_jax", "jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "scipy")


def about(packages=PACKAGES):
    """This machine and what runs on it; no name of a host or a user."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
        cpu = next((value.strip() for key, _, value in lines if key.strip() == "model name"), cpu)
    versions = {name: metadata.version(name) for name in packages}
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{cpu}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version(), **versions},
    }


def measured(row, here):
    """The record of a row; what goes wrong on the way is a failure, in words."""
    began = time.perf_counter()
    try:
        words, met = row.measure(*([_long(row.long)] if row.long else []))
    except Exception as fault:  # shown, not hidden
        reason = (str(fault).splitlines() or [""])[0]
        words, met = f"{type(fault).__name__}: {reason[:200]}", False
    seconds = round(time.perf_counter() - began, 1)
    return {"goal": row.goal, "measured": words, "passed": bool(met), "seconds": seconds, **here}


def _long(name):
    """What a long check keeps; it runs if it has kept nothing of these files."""
    if found.current(name) is None:
        found.forget(name)  # or a check that dies would show what it found of others
        subprocess.run([sys.executable, ROOT / "tests" / f"{name}.py"], check=False)
    kept = found.kept(name)
    if kept is None:
        raise RuntimeError(f"tests/{name}.py kept nothing")
    return kept


def page(rows, record, here, now):
    """Markdown. ``now``: names measured in this run."""
    passed = sum(record[name]["passed"] for name in now)
    before = [record[row.name]["passed"] for row in rows if row.name in record and row.name not in now]
    ended = f", of which {sum(before)} passed and {len(before) - sum(before)} FAILED before" if before else ""
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    lines = [
        "# Scoreboard", "",
        "What `make scoreboard` measured; rows that take long, `make scoreboard LONG=--long`. Written by",
        "`tests/scoreboard.py`; how each number is measured stands in `tests/measured.py`, and its oracle in",
        "the test that this names. Numbers: [scoreboard.json](scoreboard.json).", "",
        f"{here['date']}, {here['machine']}; {versions}.", "",
        f"**{passed} of {len(rows)} rows pass**; {len(now) - passed} fail, "
        f"{len(rows) - len(now)} were not run here{ended}.", "",
        "| row | goal | measured | | s |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        old = record.get(row.name)
        if row.name in now:
            verdict, words = "pass" if old["passed"] else "**FAIL**", old["measured"]
            seconds = f"{old['seconds']:.0f}"
        else:
            verdict, words, seconds = "not run", "not run here; never measured", ""
            if old is not None:
                ended = "passed" if old["passed"] else "FAILED"
                words = f"not run here; {ended} on {old['date']} ({old['machine']}): {old['measured']}"
        cells = (cell.replace("|", "\\|") for cell in (row.name, row.goal, words, verdict, seconds))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    words.add_argument("--long", action="store_true", help="measure the rows that take long too")
    words.add_argument("rows", nargs="*", help="these only, by name; nothing is written")
    told = words.parse_args()
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    import jax

    jax.config.update("jax_enable_x64", True)
    import measured as rows_of

    rows = rows_of.ROWS
    if unknown := set(told.rows) - {row.name for row in rows}:
        words.error(f"no rows of these names: {', '.join(sorted(unknown))}")
    chosen = [
        row for row in rows
        if (row.name in told.rows if told.rows else told.long or not row.long or found.current(row.long))
    ]  # fmt: skip
    here = about()
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    record = {row.name: record[row.name] for row in rows if row.name in record}
    failed = 0
    for row in chosen:
        record[row.name] = got = measured(row, here)
        failed += not got["passed"]
        print(f"{'pass' if got['passed'] else 'FAIL'}  {row.name}: {got['measured']}", flush=True)
    for row in rows:
        if row not in chosen and row.long and (kept := found.kept(row.long)):
            words, met = row.measure(kept)
            record[row.name] = {
                "goal": row.goal,
                "measured": words,
                "passed": met,
                **here,
                "date": kept["date"],
            }
    if not told.rows:
        RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        text = page(rows, record, here, {row.name for row in chosen})
        PAGE.write_text(text, encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)}: {len(chosen) - failed} of {len(rows)} rows pass")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
