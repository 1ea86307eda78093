"""Sixty malformed configs: each fault one line with file, line, key, value, what is allowed."""

import json
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assocmem_jax import cli
from assocmem_jax.commands import configs as commands
from assocmem_jax.studies import config
from assocmem_jax.studies.config import ConfigError, load
from assocmem_jax.studies.registry import entries, schema
from assocmem_jax.studies.study import Range
from assocmem_jax.systems import configs

KNOWN = ", ".join(entries()) + "; or your own, path/to/file.py:Name"
SPIKES = configs()["gd_fig2"].read_text(encoding="utf-8")
CAPACITY = """study = "gd.limited_capacity"
resolution = 10

[[panels]]
name = "A"
window = [-1.0, 1.0, -1.0, 1.0]
inputs = [[1.0, 0.0], [0.0, 1.0]]

[sgd]
name = "E"
start = [1.0, 1.0]
learning_rate = 0.1
batch_size = 2
steps = 5
runs = 2
window = [-1.0, 1.0, -1.0, 1.0]
inputs = [[1.0, 0.0], [0.0, 1.0]]
"""
LARGE = """study = "gd.large_memory"
learning_rates = [1.0]
steps = 10
shown = 5
horizon = 20

[[panels]]
inputs = [[1.0, 0.0], [0.0, 1.0]]
outputs = [[1.0, 0.0], [0.0, 1.0]]
"""

# (text, replaced, by, the line without "FILE:")
FAULTS = [
    # the name of the study
    (SPIKES, '"gd.loss_spikes"', '"gd.loss_spike"', "3: study: 'gd.loss_spike' is not a study; did you mean 'gd.loss_spikes'?; one of: " + KNOWN),
    (SPIKES, 'study = "gd.loss_spikes"', "", "1: study: missing; one of: " + KNOWN),
    (SPIKES, '"gd.loss_spikes"', "7", "3: study: 7 is not a study; one of: " + KNOWN),
    (SPIKES, '"gd.loss_spikes"', '""', "3: study: '' is not a study; one of: " + KNOWN),
    # numbers out of range
    (SPIKES, "alpha = 0.95", "alpha = 1.5", "4: alpha = 1.5: must be less than or equal to 1"),
    (SPIKES, "alpha = 0.95", "alpha = -1.01", "4: alpha = -1.01: must be greater than or equal to -1"),
    (SPIKES, "p1 = 0.75", "p1 = 0.0", "5: p1 = 0.0: must be greater than 0"),
    (SPIKES, "p1 = 0.75", "p1 = 1.0", "5: p1 = 1.0: must be less than 1"),
    (SPIKES, "p1 = 0.75", "p1 = 1.75", "5: p1 = 1.75: must be less than 1"),
    (SPIKES, "[10.0, 1.0]", "[10.0, -1.0]", "6: learning_rates.1 = -1.0: must be greater than 0"),
    (SPIKES, "[10.0, 1.0]", "[0.0]", "6: learning_rates.0 = 0.0: must be greater than 0"),
    (SPIKES, "steps = 35", "steps = 0", "7: steps = 0: must be greater than or equal to 1"),
    (SPIKES, "steps = 35", "steps = -3", "7: steps = -3: must be greater than or equal to 1"),
    (SPIKES, "resolution = 100", "resolution = 1", "10: resolution = 1: must be greater than or equal to 2"),
    (SPIKES, "resolution = 100", "resolution = 4000", "10: resolution = 4000: must be less than or equal to 2000"),
    (SPIKES, "resolution = 100", "resolution = 100\nseed = -1", "11: seed = -1: must be greater than or equal to 0"),
    (SPIKES, "resolution = 100", "resolution = 100\nseed = 4294967296", "11: seed = 4294967296: must be less than 4294967296"),
    # not numbers at all
    (SPIKES, "alpha = 0.95", "alpha = nan", "4: alpha = nan: must be a finite number"),
    (SPIKES, "alpha = 0.95", "alpha = inf", "4: alpha = inf: must be a finite number"),
    (SPIKES, "p1 = 0.75", "p1 = -inf", "5: p1 = -inf: must be a finite number"),
    (SPIKES, "alpha = 0.95", 'alpha = "0.95"', "4: alpha = '0.95': must be a number"),
    (SPIKES, "alpha = 0.95", "alpha = true", "4: alpha = True: must be a number"),
    (SPIKES, "alpha = 0.95", "alpha = [0.95]", "4: alpha = [0.95]: must be a number"),
    (SPIKES, "steps = 35", "steps = 35.5", "7: steps = 35.5: must be a whole number"),
    (SPIKES, "steps = 35", 'steps = "many"', "7: steps = 'many': must be a whole number"),
    (SPIKES, "steps = 35", "steps = false", "7: steps = False: must be a whole number"),
    (SPIKES, "steps = 35", "steps = 1979-05-27", "7: steps = '<1979-05-27>': must be a whole number"),
    (SPIKES, "[10.0, 1.0]", "10.0", "6: learning_rates = 10.0: must be a list"),
    (SPIKES, "[10.0, 1.0]", "[]", "6: learning_rates = []: must have at least 1 item, got 0"),
    (SPIKES, "[10.0, 1.0]", '[10.0, "1"]', "6: learning_rates.1 = '1': must be a number"),
    # keys
    (SPIKES, "alpha = 0.95", "alhpa = 0.95\nalpha = 0.95", "4: alhpa: unknown key; did you mean 'alpha'?; allowed: study, precision, seed, alpha, p1, learning_rates, steps, horizon, window, resolution"),
    (SPIKES, "alpha = 0.95", "", "1: alpha: missing; a number ≥ -1 and ≤ 1"),
    (SPIKES, "p1 = 0.75", "", "1: p1: missing; a number > 0 and < 1"),
    (SPIKES, "learning_rates = [10.0, 1.0]", "", "1: learning_rates: missing; a list, each a number > 0"),
    (SPIKES, "resolution = 100", "[extra]\na = 1", "10: extra: unknown key; allowed: study, precision, seed, alpha, p1, learning_rates, steps, horizon, window, resolution"),
    (SPIKES, "steps = 35", "steps = 35\nprecision = 'float16'", "8: precision = 'float16': must be 'float64' or 'float32'; did you mean 'float64'?"),
    (SPIKES, "steps = 35", "steps = 35\nprecision = 64", "8: precision = 64: must be 'float64' or 'float32'"),
    (SPIKES, "resolution = 100", "resolution = 100\nseed = 1.0", "11: seed = 1.0: must be a whole number"),
    # fields that must fit each other
    (SPIKES, "horizon = 1000", "horizon = 3", "1: config: horizon must be at least steps = 35, got 3"),
    (SPIKES, "[-2.0, 8.0, -4.0, 18.0]", "[8.0, -2.0, -10.0, 10.0]", "1: config: window must be [x0, x1, y0, y1] with x0 < x1 and y0 < y1, got [8.0, -2.0, -10.0, 10.0]"),
    (SPIKES, "[-2.0, 8.0, -4.0, 18.0]", "[-2.0, 8.0]", "9: window.2: missing; the list is too short"),
    # nested tables, arrays of tables
    (CAPACITY, 'name = "A"', "", "4: panels.0.name: missing; a string"),
    (CAPACITY, 'name = "A"', "name = 3", "5: panels.0.name = 3: must be a string"),
    (CAPACITY, 'name = "A"', 'nam = "A"', "5: panels.0.nam: unknown key; did you mean 'name'?; allowed: name, inputs, window, zipf_exponent"),
    (CAPACITY, "learning_rate = 0.1", "learning_rate = 0.0", "12: sgd.learning_rate = 0.0: must be greater than 0"),
    (CAPACITY, "learning_rate = 0.1", "rate = 0.1", "12: sgd.rate: unknown key; allowed: name, inputs, window, zipf_exponent, start, learning_rate, batch_size, steps, runs"),
    (CAPACITY, "batch_size = 2", "batch_size = 0", "13: sgd.batch_size = 0: must be greater than or equal to 1"),
    (CAPACITY, "runs = 2", "runs = 2.0", "15: sgd.runs = 2.0: must be a whole number"),
    (CAPACITY, "start = [1.0, 1.0]", "start = [1.0]", "11: sgd.start.1: missing; the list is too short"),
    (CAPACITY, "start = [1.0, 1.0]", "start = [1.0, nan]", "11: sgd.start.1 = nan: must be a finite number"),
    (CAPACITY, "inputs = [[1.0, 0.0], [0.0, 1.0]]\n\n", "inputs = [[1.0, 0.0], [0.0]]\n\n", "4: panels.0: inputs[1] must have 2 entries, got 1"),
    (CAPACITY, "inputs = [[1.0, 0.0], [0.0, 1.0]]\n\n", "inputs = [[1.0, 0.0]]\n\n", "7: panels.0.inputs = [[1.0, 0.0]]: must have at least 2 items, got 1"),
    (CAPACITY, "inputs = [[1.0, 0.0], [0.0, 1.0]]\n\n", "inputs = [[1.0, 0.0], [0.0, nan]]\n\n", "7: panels.0.inputs.1.1 = nan: must be a finite number"),
    (CAPACITY, "[[panels]]", "[panels]", "4: panels = a table: must be a list"),
    (CAPACITY, "[sgd]", "[sdg]", "1: sgd: missing; a table"),
    (LARGE, "shown = 5", "shown = 50", "1: config: shown ≤ steps ≤ horizon must hold, got 50, 10, 20"),
    (LARGE, "outputs = [[1.0, 0.0], [0.0, 1.0]]", "outputs = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]", "7: panels.0: outputs must have one row for each of the 2 inputs (f* is the identity), got 3"),
    # not TOML
    (SPIKES, "alpha = 0.95", "alpha 0.95", "4: is not TOML: Expected '=' after a key in a key/value pair"),
    (SPIKES, "alpha = 0.95", "alpha = 0.95\nalpha = 0.5", "5: is not TOML: Cannot overwrite a value"),
    (SPIKES, "alpha = 0.95", "alpha = ", "4: is not TOML: Invalid value"),
    (SPIKES, "[10.0, 1.0]", "[10.0, 1.0", "7: is not TOML: Unclosed array"),
    ("alpha = 1\nsteps = [", "[", "[", "2: is not TOML: Invalid value"),
    (SPIKES, "alpha = 0.95", "alpha = off", "4: is not TOML: Invalid value"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "old", "new", "line"), FAULTS, ids=range(len(FAULTS)))
def test_malformed_configs(tmp_path, text, old, new, line):
    assert old in text
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    expected = f"{path}:{line}"
    assert expected in caught.value.lines
    assert all("\n" not in found for found in caught.value.lines)


def test_points_of_an_axis():
    """As NumPy and the powers of ten have them; one way to say them, and one only."""
    assert Range(values=(3, 1, 2)).points().tolist() == [3, 1, 2]
    assert Range(linear=(0.0, 2.0, 5)).points().tolist() == [0, 0.5, 1, 1.5, 2]
    np.testing.assert_allclose(Range(log=(0.01, 100.0, 5)).points(), 10.0 ** np.arange(-2, 3), rtol=1e-14)
    for ways, said in (({}, "none"), ({"values": (1,), "log": (1.0, 2.0, 3)}, "values and log")):
        with pytest.raises(ValueError, match=f"one of values, linear and log, got {said}"):
            Range(**ways)


@pytest.mark.parametrize("word", ["\\u001b[31m", "\\u202e", "\\n", "\\u0000"])
def test_words_that_a_terminal_would_obey(tmp_path, word):
    """A label reaches the terminal and the figure."""
    path, text = tmp_path / "a.toml", configs()["slides_optimizers"].read_text(encoding="utf-8")
    path.write_text(text.replace('label = "SGD', f'label = "é{word}SGD', 1), encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"cases\.0\.label: must be of characters that are printed"
    ) as caught:
        load(path)
    assert str(caught.value).isprintable()
    path.write_text(text.replace('label = "SGD', 'label = "é η SGD', 1), encoding="utf-8")
    assert load(path).cases[0].label.startswith("é η SGD")


def test_keys_of_tables_are_words_too():
    said = r"matrices: must be of characters that are printed"
    with pytest.raises(ConfigError, match=said):
        load("context_truncation", ['matrices={"a\\u001b[31m"="blocks.-1.outer"}'])


@pytest.mark.parametrize("text", [r"$\frac{$", r"$\foo$", "a $b_$", "$$", "$x$ $^"])
def test_mathematics_that_cannot_be_set_is_refused_before_the_run(text):
    """In a label, in the key of a table; the figure would fail of it, when all is computed."""
    quoted = f"'{text}'"
    case = '{label="a", tokens=6, dimension=4, classes=3, learning_rate=10, steps=40}'
    for name, item in (
        ("slides_decay", f"cases=[{case.replace(chr(34) + 'a' + chr(34), quoted)}]"),
        ("context_truncation", f'matrices={{{quoted}="blocks.-1.outer"}}'),
    ):
        if text == "$x$ $^":  # three signs are no mathematics
            load(name, [item])
            continue
        with pytest.raises(ConfigError) as caught:
            load(name, [item])
        (line,) = caught.value.lines
        assert line.endswith(f"must be mathematics between $ and $, got {text!r}; \\$ is a dollar sign")


def test_there_are_sixty():
    assert len(FAULTS) >= 60


def test_all_faults_at_once_in_order(tmp_path):
    path = tmp_path / "bad.toml"
    text = (
        SPIKES.replace("alpha = 0.95", "alpha = 2.0")
        .replace("p1 = 0.75", "p = 1")
        .replace("steps = 35", "steps = 0")
    )
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert [line.removeprefix(f"{path}:").split(":")[0] for line in caught.value.lines] == [
        "1",
        "4",
        "5",
        "7",
    ]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("alpha=2.0", "--set alpha=2.0: alpha = 2.0: must be less than or equal to 1"),
        ("alhpa=0.5", "--set alhpa=0.5: alhpa: unknown key; did you mean 'alpha'?"),
        ("steps=many", "--set steps=many: 'many' is not a TOML value (strings need quotes)"),
        ("steps", "--set steps: must be key=value"),
        ("=3", "--set =3: must be key=value"),
        ("a..b=3", "--set a..b=3: must be key=value"),
        ('"a=3', '--set "a=3: must be key=value'),
        ('"\\x"=3', '--set "\\x"=3: must be key=value'),
        ('"a.b = c"=3', '--set "a.b = c"=3: a.b = c: unknown key'),
        ("'alhpa'=0.5", "--set 'alhpa'=0.5: alhpa: unknown key; did you mean 'alpha'?"),
        ("alpha.x=3", "--set alpha.x=3: 'x' is not a key or an index that exists"),
        ("learning_rates.7=1.0", "--set learning_rates.7=1.0: '7' is not a key or an index that exists"),
        (
            "learning_rates.1=-1.0",
            "--set learning_rates.1=-1.0: learning_rates.1 = -1.0: must be greater than 0",
        ),
    ],
)
def test_malformed_overrides(override, line):
    with pytest.raises(ConfigError) as caught:
        load("gd_fig2", [override])
    assert any(found.startswith(line) for found in caught.value.lines), caught.value.lines


def test_overrides_reach_everywhere(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(CAPACITY, encoding="utf-8")
    study = load(path, ['panels.0.name="Z"', "sgd.steps=9", "seed=4"])
    assert (study.panels[0].name, study.sgd.steps, study.seed) == ("Z", 9, 4)
    assert study.hash() != load(path).hash()
    again = tmp_path / "again.json"
    again.write_text(study.canonical(), encoding="utf-8")
    assert load(again).hash() == study.hash()


KEYS = ["a", '"a"', "'a'", '"a b"', "'x.y'", '"=]#"', r'"\u03b7\""', "1", '"1"', "a-b", "a_1"]


@pytest.mark.parametrize("key", KEYS)
def test_keys_of_overrides_are_those_of_toml(key):
    """Alone, within others, with spaces: as tomllib reads the line."""
    for line in (f"{key}=3", f"t.{key} = 3", f"{key}.'u.v'.w=[1, 2]", f' t . {key} .k= {{x = "a=b"}}'):
        raw: dict = {}
        config._override(raw, line, config._Locator("c.toml", Path(), {}))
        assert raw == tomllib.loads(line)


def test_lines_of_keys_in_quotes():
    text = "\"a.b\" = 1\n[t.'c d']\n\"η\" = 2\n[[u.\"x.y\"]]\nz.'=' = 1\n[[u.'x.y']]\n"
    assert config._line_numbers(text) == {
        ("a.b",): 1, ("t", "c d"): 2, ("t", "c d", "η"): 3, ("u", "x.y"): 4, ("u", "x.y", 0): 4,
        ("u", "x.y", 0, "z"): 5, ("u", "x.y", 0, "z", "="): 5, ("u", "x.y", 1): 6,
    }  # fmt: skip


@pytest.mark.parametrize("name", configs())
def test_shipped_configs_are_valid_and_shown_as_they_are(name, tmp_path):
    """`assocmem show` prints a config that is the same one, with every key; the first line says what it is."""
    study = load(name)
    assert study.study in entries()
    assert re.match(r"# \S.*\.\n", configs()[name].read_text(encoding="utf-8"))
    shown = tmp_path / f"{name}.toml"
    shown.write_text("\n".join(commands.shown(study)), encoding="utf-8")
    assert load(shown).hash() == study.hash()


def sections(model):
    """A schema and those of its tables."""
    yield model
    for field in model.model_fields.values():
        for inner in config._models(field.annotation):
            yield from sections(inner)


def test_every_key_is_described():
    for name in entries():
        for section in sections(schema(name)):
            for key, field in section.model_fields.items():
                assert field.description, (name, section.__name__, key)


def test_unreadable_files(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(tmp_path / "latin.toml")
    (tmp_path / "c.json").write_text("[1", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"c\.json:1: is not JSON"):
        load(tmp_path / "c.json")


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3), max_leaves=6,
)  # fmt: skip
KEYS = st.sampled_from(
    ["alpha", "p1", "learning_rates", "steps", "window", "seed", "precision", "study", "x"]
)


@given(st.dictionaries(KEYS | st.text(max_size=8), VALUE, max_size=6))
def test_any_json_is_accepted_or_refused_in_lines(tmp_path_factory, edits):
    path = tmp_path_factory.mktemp("fuzz") / "c.json"
    base = json.loads(load("gd_fig2").canonical())
    path.write_text(json.dumps(base | edits), encoding="utf-8")
    try:
        load(path)
    except ConfigError as fault:
        assert fault.lines
        assert all("\n" not in line and "Traceback" not in line for line in fault.lines)


def test_the_command_refuses_within_a_second_without_jax(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(SPIKES.replace("alpha = 0.95", "alpha = 2.0"), encoding="utf-8")
    code = "import sys, assocmem_jax.cli as c; code = c.main(sys.argv[1:]); print('jax' in sys.modules); sys.exit(code)"
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        [sys.executable, "-c", code, "run", str(path)], capture_output=True, text=True, check=False
    )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime < 2  # half a second here
    assert run.returncode == 2
    assert run.stdout.strip() == "False"
    assert run.stderr == f"{path}:4: alpha = 2.0: must be less than or equal to 1\n"


BEYOND = {
    "a clock of 2⁶⁴": ("gd_fig2", ["steps=18446744073709551616"], "steps: must be at most 2³² (clocks, sizes and seeds are 32-bit), got 18446744073709551616"),
    "steps": ("gd_fig2", ["steps=1000000000000"], "steps: must be at most 2³²"),
    "digits": ("gd_fig2", [f"steps={'9' * 4000}"], "got one of 4000 digits"),
    "a float without a square": ("gd_fig2", ["alpha=1e308"], "alpha: must be 0 or of size 1e-150 to 1e+150, got 1e+308"),
    "one that is lost": ("gd_fig2", ["alpha=1e-300"], "alpha: must be 0 or of size 1e-150 to 1e+150, got 1e-300"),
    "one that float32 has not": ("birth_layers", ["learning_rate=1e38"], "learning_rate: must be 0 or of size 1e-37 to 1e+37 in float32, got 1e+38"),
    "one that is lost in float32": ("gd_fig2", ['precision="float32"', "alpha=1e-40"], "alpha: must be 0 or of size 1e-37 to 1e+37 in float32, got 1e-40"),
    "more digits than Python reads": ("gd_fig2", [f"seed={'1' * 5000}"], "is not a TOML value"),
    "deep": ("gd_fig2", [f"seed={'[' * 40}{']' * 40}"], "seed: is nested more than 32 deep"),
    "deeper": ("gd_fig2", [f"seed={'[' * 5000}{']' * 5000}"], "is not a TOML value"),
}  # fmt: skip


@pytest.mark.parametrize("name", BEYOND)
def test_numbers_that_no_run_can_use(name, capsys):
    config, changes, said = BEYOND[name]
    assert cli.main(["run", config, *[w for change in changes for w in ("--set", change)]]) == 2
    err = capsys.readouterr().err
    assert said in err or len(err) >= 300
    assert len(err.splitlines()) == 1
    assert len(err) <= 301


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"seed = " + b"1" * 5000, "has a number that cannot be read"),
        (b"seed = " + b"[" * 5000 + b"]" * 5000, "is nested too deeply"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"", "study: missing"),
    ],
)
def test_files_that_are_no_config(content, said, tmp_path, capsys):
    (tmp_path / "c.toml").write_bytes(content)
    assert cli.main(["run", str(tmp_path / "c.toml")]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert cli.main(["run", str(tmp_path)]) == 2
    assert "cannot be read: Is a directory" in capsys.readouterr().err
    assert cli.main(["run", "a\0b"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_places_where_no_result_can_be(command, tmp_path, capsys):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for out, said in (
        (tmp_path / "file" / "r", "file is none"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        assert cli.main([command, "gd_fig3", "--out", str(out)]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert len(err.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_refusal_inside_of_a_run_is_one_line(tmp_path, capsys):
    """What a schema cannot know is refused where it is met."""
    changes = ["--set", "steps=2147483648", "--set", "horizon=2147483648", "--out", str(tmp_path / "r")]
    assert cli.main(["run", "gd_fig2", *changes]) == 2
    err = capsys.readouterr().err.splitlines()
    assert "steps must be below 2³¹ (clocks are 32-bit integers), got 2147483648" in err[-1]


def test_an_array_that_the_device_cannot_hold_is_one_line(capsys):
    """JAX's own words for it, and any other of its faults, which is a traceback still."""
    import jax
    import jax.numpy as jnp

    from assocmem_jax.commands.common import reported

    assert reported(lambda: str(jax.jit(lambda n: jnp.ones(2**50) * n)(1.0).block_until_ready())) == 2
    assert capsys.readouterr().err == (
        "assocmem: memory: an array of 8.39e+06 GiB is more than there is; make the sizes smaller\n"
    )

    def inside():
        raise RuntimeError(
            "INTERNAL: Error dispatching computation: Out of memory allocating 1073741824 bytes."
        )

    assert reported(inside) == 2
    assert "an array of 1 GiB" in capsys.readouterr().err

    def other():
        raise RuntimeError("INTERNAL: 7 bytes")

    with pytest.raises(RuntimeError, match="INTERNAL"):
        reported(other)
