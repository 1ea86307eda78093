"""docs/benchmarks.md from one command: each script in a process of its own, what it prints kept as JSON.

Run: make bench [ONLY="flow door"], which is python benchmarks/page.py [NAME …]; a name is that of
benchmarks/bench_NAME.py, none are all of them. What was not run keeps its record, with its date and commit.
--write: the page alone, from docs/benchmarks.json. Goes on after a script that fails; exit code 1 at the end
if any did, or if a claim does not hold.
"""

import argparse
import ast
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rows

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGE, RECORD = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.json"
sys.path.append(str(ROOT / "tests"))
import scoreboard

INTRODUCTION = """\
Written by `make bench` (`benchmarks/page.py`), which runs `benchmarks/bench_*.py` one after another; every
figure in full is in [benchmarks.json](benchmarks.json). A script times what it compares in one run, some in
turn, and measures the limits of the machine beside it (float64, JAX, all cores: e^x and sums
on vectors of 32 MB, a product of 1500 × 1500). Times are medians of three runs or more; what takes minutes is
measured once, and its row says so. A claim holds where the ratio is what is asked: ≥, how many times as fast
as what stands beside it, or ≤, how much of a limit is used, or how many times what stands beside it. Believe
the ratios: seconds are of this machine. Where other processes worked meanwhile its section says so, and its
ratios are worth little too.
A card: [benchmarks_gpu.md](benchmarks_gpu.md)."""
# Compilation is timed too.
ALONE = {"JAX_ENABLE_COMPILATION_CACHE": "false", "PYTHONUTF8": "1"}
HEAD = "| claim | ours | beside it | ratio | asked | holds |\n|---|---|---|---|---|---|"


def scripts():
    """{name: path} of every benchmark."""
    return {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}


def parsed(text):
    """(rows, other lines) of what a script printed; a record cut short is other lines."""
    found, others, place = [], [], 0
    while place < len(text):
        line = text[place:].split("\n", 1)[0]
        try:
            row, end = json.JSONDecoder().raw_decode(text, place) if line.startswith("{") else (None, place)
        except ValueError:
            row = None
        if rows.is_row(row):
            found.append(row)
            place = end
        else:
            others += [line] if line.strip() else []
            place += len(line) + 1
    return found, others


def elsewhere(stat="/proc/stat"):
    """CPU-seconds that this machine has worked, less those of what ran here and ended; nan where not told."""
    try:
        words = Path(stat).read_text(encoding="utf-8").split()[1:9]
    except OSError:
        return math.nan
    here = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = sum(map(int, words)) - int(words[3]) - int(words[4])  # idle, and waiting for a disk
    return busy / os.sysconf("SC_CLK_TCK") - here.ru_utime - here.ru_stime


def measured(path, here):
    """The record of a script that runs now; what it prints is shown as it comes."""
    load, began, elsewhen = os.getloadavg()[0], time.perf_counter(), elsewhere()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        told = {"stdout": subprocess.PIPE, "stderr": errors, "encoding": "utf-8", "env": os.environ | ALONE}
        lines = []
        with subprocess.Popen([sys.executable, str(path)], **told) as run:
            for line in run.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        code = run.returncode
        errors.seek(0)
        said = errors.read()
    sys.stderr.write(said)
    found, others = parsed("".join(lines))
    reason = ([line for line in said.splitlines() if line.strip()] or [""])[-1][:300]
    seconds = time.perf_counter() - began
    company = (elsewhere() - elsewhen) / seconds
    return here | {
        "load": round(load, 2), "company": round(max(0.0, company), 2) if math.isfinite(company) else None,
        "seconds": round(seconds, 1), "code": code, "reason": reason if code else "",
        "others": others, "rows": found,
    }  # fmt: skip


def commit():
    """The commit that runs, and whether files of it were changed."""

    def git(*words):
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        ).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "assocmem_jax", "benchmarks")
        return git("rev-parse", "--short", "HEAD").strip() + (" and changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def faults(record):
    """What went wrong besides claims that do not hold, in words."""
    found, broken = [], any(row["holds"] is False for row in record["rows"])
    if record["code"] not in (0, rows.BROKEN):
        found.append(f"FAILED (exit code {record['code']}): {record['reason'] or 'without a word'}")
    elif broken != (record["code"] == rows.BROKEN):
        found.append(f"FAILED: exit code {record['code']} is not what its claims say")
    if record["others"]:
        count, first = len(record["others"]), record["others"][0][:200]
        found.append(f"FAILED: it printed what is no record ({count} lines), first: {first!r}")
    if not record["rows"]:
        found.append("FAILED: it printed no record")
    return found


def cell(text):
    return " ".join(text.replace("|", "\\|").split())


def line(row):
    ratio = asked = holds = ""
    if row["goal"] is not None:
        ratio = rows.verdict(row["ratio"], row["goal"], row["at_most"])
        asked = f"{'≤' if row['at_most'] else '≥'} {row['goal']:,g}"
        holds = "yes" if row["holds"] else "**does not hold**"
    elif row["ratio"] is not None:
        ratio = rows.digits(row["ratio"])
    return f"| {' | '.join(map(cell, (row['what'], row['ours'], row['beside'], ratio, asked, holds)))} |"


def limits(record):
    """The limits that were measured in a run, from the lowest to the highest."""
    said = []
    for name, unit in (("exp", "e^x/s"), ("bytes", "B/s"), ("flop", "FLOP/s")):
        values = [row["limits"][f"{name}_per_second"] for row in record["rows"] if row["limits"]]
        if values:
            low, high = rows.figure(min(values), unit), rows.figure(max(values), unit)
            said.append(low if low == high else f"{low} to {high}")
    return "; limits in this run: " + ", ".join(said) if said else ""


def company(record):
    """What other processes had of the machine meanwhile; above a tenth of a core it was not idle."""
    cores = record["company"]
    if cores is None:
        return ""
    words = f", other processes had {cores:.1f} cores meanwhile"
    return words if cores < 0.1 else f"{words}: **not idle**"


def section(name, path, record):
    """A script on the page: what it measures, its table, its notes."""
    about, _, notes = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).partition("\n\nNotes. ")
    parts = [f"## `bench_{name}`", about]
    if record is None:
        parts.append("**Not measured.**")
    else:
        parts += [f"**{cell(fault)}**" for fault in faults(record)]
        if record["rows"]:
            parts.append("\n".join([HEAD, *map(line, record["rows"])]))
        parts.append(
            f"{record['date']}, commit {record['commit']}; load {record['load']:.1f} before it began, "
            f"{record['seconds']:.0f} s{company(record)}{limits(record)}."
        )
    return "\n\n".join(parts + [f"Notes. {notes}"] * bool(notes))


def written(record, known):
    """The page. ``record``: {name: record}; ``known``: {name: path}."""
    record = {name: record[name] for name in known if name in record}
    claims = [row["holds"] for entry in record.values() for row in entry["rows"] if row["holds"] is not None]
    summary = f"**{sum(claims)} of {len(claims)} claims hold.**"
    for what, names in (
        ("A claim does not hold", [n for n in record if any(r["holds"] is False for r in record[n]["rows"])]),
        ("FAILED", [name for name in record if faults(record[name])]),
        ("Not measured", [name for name in known if name not in record]),
    ):
        if names:
            summary += f" {what}: {', '.join(f'`{name}`' for name in names)}."
    machines = {}
    for name, entry in record.items():
        versions = ", ".join(f"{package} {version}" for package, version in entry["versions"].items())
        machines.setdefault(f"{entry['machine']}; {versions}", []).append(name)
    if len(machines) > 1:
        machines = {
            f"{', '.join(f'`{n}`' for n in names)}: {words}": names for words, names in machines.items()
        }
    parts = ["# Benchmarks", INTRODUCTION, *(f"{words}." for words in machines), summary]
    parts += [section(name, path, record.get(name)) for name, path in known.items()]
    return "\n\n".join(parts) + "\n"


def keep(record, known):
    """Both files, whole."""
    record = {name: record[name] for name in known if name in record}
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(written(record, known), encoding="utf-8")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    words.add_argument("--write", action="store_true", help="write the page from the JSON; run nothing")
    words.add_argument("names", nargs="*", help="these only; the rest keep their records")
    told = words.parse_args()
    known = scripts()
    if unknown := [name for name in told.names if name not in known]:
        print(f"page: no benchmark {unknown[0]!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    if told.write and told.names:
        print("page: --write runs nothing: give it no names", file=sys.stderr)
        return 2
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    failed = []
    for name in () if told.write else told.names or known:
        here = scoreboard.about((*scoreboard.PACKAGES, "torch")) | {"commit": commit()}
        print(f"bench_{name} …", flush=True)
        record[name] = measured(known[name], here)
        keep(record, known)  # a run that is cut short keeps what it has
        if record[name]["code"] or faults(record[name]):
            failed.append(name)
    keep(record, known)
    if failed:
        print(f"page: failed or does not hold: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
