"""What judges a release: the summary of `make soak`, the page of `make scoreboard`, the draw of mutants."""

import json
import sys

import pytest

import mutants
import scoreboard
from helpers import script
from measured import ROWS, Found, Row

HERE = {"date": "2026-01-01", "machine": "a machine", "versions": {"python": "3.11"}}


def test_soak_goes_on_after_a_failure_and_says_so_at_the_end(tmp_path):
    write = [sys.executable, "-c", f"open({str(tmp_path / 'x')!r}, 'w')"]
    code, lines = script("soak").run({"first": ["true"], "bad": ["sh", "-c", "exit 3"], "last": write})
    assert code == 1
    assert (tmp_path / "x").exists()
    assert [line.split()[0] for line in lines[:3]] == ["first", "bad", "last"]
    assert [line.split(" s  ")[1] for line in lines[:3]] == ["passed", "FAILED (exit code 3)", "passed"]
    assert lines[3] == "2 of 3 stages passed"
    assert script("soak").run({"first": ["true"]})[0] == 0


def test_what_fails_and_what_was_not_run_stays_on_the_page():
    def broken():
        raise ZeroDivisionError("a reason\nin two lines")

    rows = [
        Row("good", "1", lambda: Found("1 of |x|", True)), Row("bad", "1", lambda: Found("2", False)),
        Row("broken", "1", broken), Row("old", "1", broken, True), Row("never", "1", broken, True),
    ]  # fmt: skip
    record = {row.name: scoreboard.measured(row, HERE) for row in rows[:3]}
    record["old"] = {"passed": False, "measured": "7 of 8", **HERE, "date": "2025-12-31"}
    text = scoreboard.page(rows, record, HERE, {"good", "bad", "broken"})
    table = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    assert "1 of \\|x\\| | pass" in table["| good"]
    assert "2 | **FAIL**" in table["| bad"]
    assert "ZeroDivisionError: a reason | **FAIL**" in table["| broken"]
    assert "not run here; FAILED on 2025-12-31 (a machine): 7 of 8 | not run" in table["| old"]
    assert "not run here; never measured | not run" in table["| never"]
    assert "**1 of 5 rows pass**; 2 fail, 2 were not run here." in text


def test_the_page_is_of_the_rows_there_are():
    record = json.loads(scoreboard.RECORD.read_text(encoding="utf-8"))
    text = scoreboard.PAGE.read_text(encoding="utf-8")
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert f"| {row.name} | {row.goal} | " in text, f"{row.name}: make scoreboard"
        assert row.long or record[row.name]["measured"] in text.replace("\\|", "|")


def test_every_room_has_tests_for_its_mutants():
    for room, paths in mutants.rooms().items():
        assert mutants.related(str(paths[0].relative_to(mutants.PACKAGE))), room


@pytest.mark.soak  # needs cosmic-ray: make tables installs it
def test_mutants_are_drawn_by_their_seed_from_every_room():
    first, again, other = ([m.name for m in mutants.drawn(6, seed)] for seed in (1, 1, 2))
    assert first == again != other
    assert {path.name for path in mutants.rooms()["dynamics"]} >= {"flow.py", "descent.py"}
