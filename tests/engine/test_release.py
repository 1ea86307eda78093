"""What judges a release: the summary of `make soak`, the page of `make scoreboard`, the draw of mutants."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

import conftest
import faults
import found
import mutants
import scoreboard
import soak
from measured import ROWS, Found, Row

HERE = {"date": "2026-01-01", "machine": "a machine", "versions": {"python": "3.11"}}


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A folder for what is found, and the files that it is of: as committed."""
    monkeypatch.setattr(found, "PLACE", tmp_path / "kept")
    monkeypatch.setattr(found, "tree", lambda: "these files")
    return tmp_path


def test_soak_goes_on_after_a_failure_and_says_so_at_the_end(record):
    write = [sys.executable, "-c", f"open({str(record / 'x')!r}, 'w')"]
    code, lines = soak.run({"first": ["true"], "bad": ["sh", "-c", "exit 3"], "last": write})
    assert code == 1
    assert (record / "x").exists()
    assert [line.split()[0] for line in lines[:3]] == ["first", "bad", "last"]
    assert [line.split(" s  ")[1] for line in lines[:3]] == ["passed", "FAILED (exit code 3)", "passed"]
    assert lines[3] == "2 of 3 stages passed"
    assert soak.run({"first": ["true"]})[0] == 0


def test_soak_goes_on_where_it_was_stopped(record, monkeypatch):
    def counted(name):
        return ["sh", "-c", f"echo x >> {record / name}; test {name} != bad"]

    def runs():
        return {name: len((record / name).read_text().split()) for name in stages}

    stages = {name: counted(name) for name in ("good", "bad")}
    assert soak.run(stages, again=False)[0] == 1
    code, lines = soak.run(stages, again=False)
    assert code == 1
    assert runs() == {"good": 1, "bad": 2}
    assert " s  passed on 20" in lines[0]
    soak.run(stages)  # named: again
    assert runs() == {"good": 2, "bad": 3}
    monkeypatch.setattr(found, "tree", lambda: "others")
    soak.run(stages, again=False)
    assert runs() == {"good": 3, "bad": 4}
    monkeypatch.setattr(found, "tree", lambda: None)  # changed and not committed
    soak.run(stages, again=False)
    soak.run(stages, again=False)
    assert runs() == {"good": 5, "bad": 6}


def test_planted_faults_go_on_where_they_were_stopped(record, monkeypatch):
    """After those caught on these very files; all again once it ended, or where a name is given."""
    asked, dies = [], [True]

    def caught(name):
        asked.append(name)
        if name == "last" and dies[0]:
            raise RuntimeError("stopped")
        return name, name != "missed", "1 failed"

    monkeypatch.setattr(faults, "FAULTS", dict.fromkeys(["first", "missed", "last"]))
    monkeypatch.setattr(faults, "caught", caught)
    monkeypatch.setattr(sys, "argv", ["faults.py"])
    with pytest.raises(RuntimeError, match="stopped"):
        faults.main()
    assert found.kept("faults") is None
    dies[0] = False
    for ran in (["missed", "last"], ["first", "missed", "last"]):
        asked.clear()
        assert faults.main() == 1
        assert sorted(asked) == sorted(ran)
        assert found.current("faults")["missed"] == ["missed"]
        assert found.current("faults")["planted"] == 3
    found.passing("faults", "these files", {"first": "1 failed"})
    monkeypatch.setattr(found, "tree", lambda: "other files")
    assert found.passed("faults", found.tree()) == found.passed("faults", None) == {}


def test_mutants_go_on_where_they_were_stopped(record, monkeypatch):
    asked, dies = [], [True]

    def caught(mutant, *_):
        asked.append(mutant.name)
        if mutant.name == "last" and dies[0]:
            raise RuntimeError("stopped")
        return None if mutant.name == "survives" else "a test"

    names = ["first", "survives", "last"]
    drawn = [SimpleNamespace(name=name, same=None, line=1, operator="one") for name in names]
    monkeypatch.setattr(mutants, "drawn", lambda count, seed: drawn)
    monkeypatch.setattr(mutants, "caught", caught)
    run = lambda seed: mutants.score(3, seed, 0, 1, None, "pytest")  # noqa: E731
    with pytest.raises(RuntimeError, match="stopped"):
        run(1)
    dies[0] = False
    for seed, ran in ((2, names), (1, names[1:]), (1, names)):
        asked.clear()
        scored = run(seed)
        assert asked == ran
        assert (scored["real"], scored["caught"], scored["survivors"]) == (3, 2, ["survives"])


def test_what_changed_while_it_ran_is_of_no_files(record, monkeypatch):
    found.keep("check", "other files", passed=True)
    assert found.kept("check")["passed"]
    assert found.current("check") is None
    found.keep("check", "these files", passed=True)
    assert found.current("check")["passed"]


def test_a_tree_is_of_what_is_committed_docs_apart(tmp_path, monkeypatch):
    def git(*words):
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(found, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    names = []
    git("init")
    for file, text in (("a.py", "1"), ("docs/page.md", "1"), ("a.py", "2"), ("a.py", "1")):
        (tmp_path / file).write_text(text)
        assert (found.tree() is None) == file.startswith("a")
        git("add", ".")
        git("commit", "-m", "x")
        names.append(found.tree())
    assert names[0] == names[1] == names[3] != names[2]
    assert None not in names
    shutil.rmtree(tmp_path / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert found.tree() is None


def test_what_fails_and_what_was_not_run_stays_on_the_page():
    def broken():
        raise ZeroDivisionError("a reason\nin two lines")

    rows = [
        Row("good", "1", lambda: Found("1 of |x|", True)), Row("bad", "1", lambda: Found("2", False)),
        Row("broken", "1", broken), Row("old", "1", broken, "old"), Row("never", "1", broken, "never"),
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
    assert "**1 of 5 rows pass**; 2 fail, 2 were not run here, of which 0 passed and 1 FAILED before." in text


def test_a_long_row_is_what_its_check_kept(record):
    row = Row("long", "2", lambda kept: Found(f"{kept['of']} of 2", kept["of"] == 2), "check")
    for of in (2, 1):
        found.keep("check", "these files", of=of)
        got = scoreboard.measured(row, HERE)
        assert (got["measured"], got["passed"]) == (f"{of} of 2", of == 2)


def test_a_check_that_dies_shows_nothing_that_it_found_of_other_files(record):
    """There is no tests/dead.py: it ends without a word, and what stands there is of other files."""
    found.keep("dead", "other files", of=2)
    row = Row("long", "2", lambda kept: Found(f"{kept['of']} of 2", kept["of"] == 2), "dead")
    got = scoreboard.measured(row, HERE)
    assert (got["measured"], got["passed"]) == ("RuntimeError: tests/dead.py kept nothing", False)


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


def test_once_keeps_the_first_case_of_every_test():
    """As the wheel is tested: every test is there, in its order, whatever its cases are called."""
    names = ["a.py::f[1]", "a.py::f[2]", "a.py::g", "b.py::f[x[0]]", "b.py::f[x[1]]", "a.py::h[1]"]
    items = [SimpleNamespace(nodeid=name) for name in names]
    for once, left in ((False, names), (True, ["a.py::f[1]", "a.py::g", "b.py::f[x[0]]", "a.py::h[1]"])):
        config = SimpleNamespace(getoption=lambda name, once=once: {"once": once}[name])
        kept = [*items]
        conftest.pytest_collection_modifyitems(config, kept)
        assert [item.nodeid for item in kept] == left
