"""The page of `make bench`: what was measured stands on it, and what failed, with nothing lost."""

import json
import math
import os
import resource
import subprocess
import sys

import pytest

from helpers import script

page, rows = (script(name, "benchmarks") for name in ("page", "rows"))
HERE = {"date": "2026-01-01", "machine": "a machine", "versions": {"jax": "1"}, "commit": "abc"}
LIMITS = {"exp_per_second": 1e9, "bytes_per_second": 2e10, "flop_per_second": 1e11}
GOOD = rows.row("a |claim|", "1.3 ms", "SciPy 9.8 ms", 7.5, 5, limits=LIMITS, seconds=0.0013)
BAD = rows.row(
    "a limit", "5.1 s", "limit 4.0 s", 1.275, 1, at_most=True, limits=LIMITS | {"exp_per_second": 2e9}
)
NOTE = rows.row("a note", "3.0 µs", "", 2.0)


def planted(tmp_path, body, docstring="What it is.\n\nWhy.\n\nNotes. A note."):
    """(record, its section) of a script that runs ``body``."""
    path = tmp_path / "bench_planted.py"
    path.write_text(f'"""{docstring}"""\nimport json, sys\n{body}\n', encoding="utf-8")
    record = page.measured(path, HERE)
    return record, page.section("planted", path, record)


def prints(*found, indent=1):
    return "\n".join(f"print({json.dumps(row, indent=indent, ensure_ascii=False)!r})" for row in found)


def test_the_page_is_what_the_records_say():
    """Written anew by `python benchmarks/page.py --write`."""
    record, known = json.loads(page.RECORD.read_text(encoding="utf-8")), page.scripts()
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(record, known) == text, "python benchmarks/page.py --write"
    assert set(record) <= set(known)
    assert len(known) == len(list(page.HERE.glob("bench_*.py"))) > 15
    for name in known:
        assert text.count(f"## `bench_{name}`\n") == 1
    for entry in record.values():
        assert all(rows.is_row(row) for row in entry["rows"])
        for row in entry["rows"]:
            if row["goal"] is not None:  # on its side of the goal, told apart from rows.row
                sign = -1 if row["at_most"] else 1
                assert row["holds"] == (sign * row["ratio"] >= sign * row["goal"])


def test_a_script_that_holds(tmp_path):
    record, text = planted(tmp_path, prints(GOOD, NOTE))
    assert (record["code"], record["others"], record["rows"]) == (0, [], [GOOD, NOTE])
    assert page.faults(record) == []
    assert text.startswith("## `bench_planted`\n\nWhat it is.\n\nWhy.\n\n| claim |")
    assert "\n| a \\|claim\\| | 1.3 ms | SciPy 9.8 ms | 7.5 | ≥ 5 | yes |\n" in text
    assert "\n| a note | 3.0 µs |  | 2.0 |  |  |\n" in text
    assert "limits in this run: 1.00 G e^x/s, 20 GB/s, 100 GFLOP/s." in text
    assert text.endswith("\n\nNotes. A note.")


def test_what_other_processes_had(tmp_path, monkeypatch):
    """User, nice, system, interrupts and steal of /proc/stat, less what children of this process took."""
    stat = tmp_path / "stat"
    stat.write_text("cpu  5000 1000 500 99999 777 20 50 30 11 12\ncpu0 1 2 3\n", encoding="utf-8")
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    expected = 6600 / os.sysconf("SC_CLK_TCK") - (children.ru_utime + children.ru_stime)
    assert page.elsewhere(stat) == pytest.approx(expected, rel=1e-12)
    assert math.isnan(page.elsewhere(tmp_path / "none"))
    clock = iter((100.0, 100.0))
    monkeypatch.setattr(page, "elsewhere", lambda: next(clock))
    record, text = planted(tmp_path, prints(GOOD))
    assert record["company"] == 0
    assert "s, other processes had 0.0 cores meanwhile; limits" in text
    clock = iter((100.0, 1e6))
    record, text = planted(tmp_path, prints(GOOD))
    # Seconds are rounded to a tenth, cores to a hundredth.
    least, most = max(record["seconds"] - 0.051, 0), record["seconds"] + 0.051
    assert (record["company"] - 0.01) * least <= 1e6 - 100 <= (record["company"] + 0.01) * most
    assert "cores meanwhile: **not idle**; limits" in text
    clock = iter((math.nan, math.nan))
    record, text = planted(tmp_path, prints(GOOD))
    assert record["company"] is None
    assert "other processes" not in text


def test_what_fails_stays_on_the_page(tmp_path):
    record, text = planted(tmp_path, prints(GOOD, BAD) + f"\nsys.exit({rows.BROKEN})")
    assert page.faults(record) == []
    assert "| a limit | 5.1 s | limit 4.0 s | 1.27 | ≤ 1 | **does not hold** |" in text
    assert "1.00 G e^x/s to 2.0 G e^x/s" in text
    died, text = planted(tmp_path, prints(GOOD) + "\nraise ZeroDivisionError('a reason')")
    assert "**FAILED (exit code 1): ZeroDivisionError: a reason**" in text
    assert "| 7.5 | ≥ 5 | yes |" in text  # what it had printed
    _, text = planted(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert "**FAILED (exit code -9): without a word**" in text
    assert "**FAILED: it printed no record**" in text
    silent, text = planted(tmp_path, prints(BAD))  # it does not hold and the script says nothing
    assert "**FAILED: exit code 0 is not what its claims say**" in text

    known = dict.fromkeys(("good", "bad", "died", "silent", "never"), tmp_path / "bench_planted.py")
    good = HERE | {
        "load": 0.0,
        "company": 0.0,
        "seconds": 1.0,
        "code": 0,
        "reason": "",
        "others": [],
        "rows": [GOOD, NOTE],
    }
    found = {
        "good": good,
        "bad": record,
        "died": died | {"machine": "another"},
        "silent": silent,
        "gone": died,
    }
    text = page.written(found, known)
    assert (
        "**3 of 5 claims hold.** A claim does not hold: `bad`, `silent`. FAILED: `died`, `silent`. " in text
    )
    assert "Not measured: `never`." in text
    assert text.count("**Not measured.**") == 1
    assert "\n`good`, `bad`, `silent`: a machine; jax 1.\n" in text
    assert "\n`died`: another; jax 1.\n" in text
    assert "gone" not in text


@pytest.mark.parametrize(
    ("printed", "first"),
    [
        ("a word", "a word"),
        (json.dumps(GOOD)[:-30], json.dumps(GOOD)[:-30]),
        (json.dumps(GOOD, indent=1)[:-30], "{"),
        (json.dumps({"claim": "another form"}), '{"claim": "another form"}'),
        (json.dumps(GOOD | {"ours": 3}), json.dumps(GOOD | {"ours": 3})),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_what_is_no_record_is_named(tmp_path, printed, first):
    record, text = planted(tmp_path, prints(GOOD) + f"\nprint({printed!r})\n" + prints(NOTE))
    assert record["rows"] == [GOOD, NOTE]
    assert record["others"][0] == first
    assert "\n".join(record["others"]) == printed
    assert f"FAILED: it printed what is no record ({len(record['others'])} lines)" in text


def test_the_command_goes_on_after_a_failure(tmp_path, monkeypatch):
    """From an older record: what runs is measured anew, what does not keeps its own."""
    for name, body in {"a": "raise SystemExit(7)", "b": prints(GOOD), "c": "never"}.items():
        (tmp_path / f"bench_{name}.py").write_text(f'"""Of {name}."""\n{body}\n', encoding="utf-8")
    monkeypatch.setattr(page, "HERE", tmp_path)
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(page, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(page.scoreboard, "about", lambda _: HERE)
    old = HERE | {
        "load": 0.0,
        "company": 0.0,
        "seconds": 1.0,
        "code": 0,
        "reason": "",
        "others": [],
        "rows": [NOTE],
    }
    page.RECORD.write_text(json.dumps({"b": old, "c": old, "gone": old}), encoding="utf-8")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["page.py", *words])
        return page.main(), json.loads(page.RECORD.read_text(encoding="utf-8"))

    code, record = run("a", "b")
    assert code == 1
    assert (record["a"]["code"], record["b"]["rows"], record["c"]) == (7, [GOOD], old)
    assert list(record) == ["a", "b", "c"]
    assert page.PAGE.read_text(encoding="utf-8") == page.written(record, page.scripts())
    code, record = run("b")
    assert code == 0
    assert run("--write") == (0, record)
    (tmp_path / "bench_b.py").write_text(f'"""Of b."""\nimport sys\n{prints(BAD)}\nsys.exit({rows.BROKEN})\n')
    assert run("b")[0] == 1  # all is printed, and a claim does not hold


def test_names_that_are_not_there():
    for words, said in (
        (["flow", "flaw"], "page: no benchmark 'flaw'; there are "),
        (["--write", "flow"], "page: "),
    ):
        run = subprocess.run(
            [sys.executable, page.HERE / "page.py", *words],
            capture_output=True, text=True, check=False, timeout=60, env=os.environ | {"PYTHONUTF8": "1"},
        )  # fmt: skip
        assert run.returncode == 2
        assert run.stderr.startswith(said)
        assert run.stderr.count("\n") == 1
        assert len(run.stderr) <= 400


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.00134, "s", "1.34 ms"), (2.5e-7, "s", "250 ns"), (603.4, "s", "603 s"), (4321.0, "s", "4,320 s"),
        (0.0999, "s", "100 ms"), (31749.2, "", "31,700"), (2.14e-10, "", "2.1e-10"), (9.96, "", "10"),
        (23.4e9, "B/s", "23 GB/s"), (8.3e8, "e^x/s", "830 M e^x/s"), (1e3, "B", "1.00 kB"), (0, "s", "0 s"),
        (0.25, "", "0.25"), (6.06, "CPU-s", "6.1 CPU-s"), (415.2, "MiB", "415 MiB"), (-0.05, "", "-0.050"),
        (math.inf, "s", "inf s"), (math.nan, "", "nan"),
    ],
)  # fmt: skip
def test_figures(value, unit, text):
    assert rows.figure(value, unit) == text


@pytest.mark.parametrize(
    ("ratio", "goal", "at_most", "holds", "text"),
    [
        (20.0, 20, False, True, "20"), (19.97, 20, False, False, "19.97"), (1.0, 1, True, True, "1.00"),
        (1.0004, 1, True, False, "1.0004"), (math.nan, 1, True, False, "nan"),
        (math.nan, 1, False, False, "nan"),
        (math.inf, 1, True, False, "inf"), (0.9996, 1, True, True, "1.0"), (39.2, 300, False, False, "39"),
    ],
)  # fmt: skip
def test_a_ratio_is_seen_on_its_side_of_the_goal(ratio, goal, at_most, holds, text):
    row = rows.row("a claim", "", "", ratio, goal, at_most)
    assert row["holds"] is holds
    assert rows.verdict(ratio, goal, at_most) == text
    assert rows.row("a note", "", "", ratio)["holds"] is None
