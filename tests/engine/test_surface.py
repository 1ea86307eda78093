"""What users meet: of which kind every attribute of a public class is, and that each call asks for what it is
for before anything else."""

import inspect
import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import optax
import pytest
import xarray as xr
from tqdm import tqdm

import assocmem_jax as am
import helpers
import surface
from assocmem_jax import plot, progress
from assocmem_jax.systems import wings


def test_attributes_are_of_the_kind_that_they_were():
    """A value is no method, a method of the class no other, a static field no array: else every caller's code
    is another. What is meant is written by ``python tests/surface.py``."""
    kept = json.loads(surface.KEPT.read_text(encoding="utf-8"))
    found = surface.whole()
    assert list(found) == list(kept)
    assert {name: held for name, held in found.items() if held != kept[name]} == {}


# What has no first argument of its own to ask about, or is looked at where it is used.
LATER = {
    "kaiming(law)", "gradient_norm(task)", "gradient_norm(model)", "capacity(key)",
    "lanczos_top(key)", "observable(task)", "observable(model)", "simulate(task)", "simulate(model)",
    "simulate(key)", "threshold(key)", "truncated(model)", "ablated(model)", "patched(model)",
    "name_of(task)",
}  # fmt: skip


def calls():
    """``short(argument)`` → (its whole name, the call, the argument) of every public function and method of a
    class that is given a task, a model, a law or a key; observables are asked in test_house.py."""
    found = {}
    for cls in surface.classes().values():
        for name, method in inspect.getmembers(cls, inspect.ismethod):
            found.setdefault(method.__func__, (f"{cls.__name__}.{name}", method))
    rooms = [am, am.losses, am.embeddings, am.memory.schemes, *(getattr(am, name) for name in wings())]
    for room in rooms:
        for name in dir(room):
            function = getattr(room, name)
            if inspect.isfunction(function) and not hasattr(function, "axes"):
                found.setdefault(function, (name, function))
    for where, call in found.values():
        for argument in {"task", "model", "law", "key"} & set(inspect.signature(call).parameters):
            name = f"{where}({argument})"
            if not where.rpartition(".")[2].startswith("_"):
                yield name, call, argument


def wanted(argument):
    return f"{argument} must be {'a typed key, got 3' if argument == 'key' else 'of the class '}"


ASKED = sorted(calls())


@pytest.mark.parametrize(
    ("call", "argument"),
    [pytest.param(*given, id=name) for name, *given in ASKED if name.rpartition(".")[2] not in LATER],
)
def test_calls_ask_for_what_they_are_for(call, argument):
    helpers.refused(lambda: call(**{argument: 3}), wanted(argument))


def test_no_other_call_asks_later():
    """Each of ``LATER`` is there, and does not ask at once."""
    later = {name.rpartition(".")[2]: given for name, *given in ASKED}
    for name in LATER:
        call, argument = later[name]
        try:
            said = str(call(**{argument: 3}))
        except (TypeError, ValueError) as refusal:
            said = str(refusal)
        assert wanted(argument) not in said, name


def test_widths_of_a_page():
    """In inches: a column and a page of two, as journals have them."""
    assert (plot.COLUMN, plot.PAGE) == (3.25, 6.75)


@pytest.mark.parametrize(("quiet", "terminal"), [(False, True), (True, True), (True, False), (False, False)])
def test_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch, quiet, terminal):
    """A terminal has a bar after a second, a log a line a minute, who wants none nothing."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    seen = {}
    monkeypatch.setattr(progress, "tqdm", lambda **options: seen.update(options) or tqdm(disable=True))
    progress.bar(8, unit=" parts", desc="work", initial=3, quiet=quiet)
    assert {name: seen.pop(name) for name in ("total", "unit", "desc", "initial")} == {
        "total": 8, "unit": " parts", "desc": "work", "initial": 3,
    }  # fmt: skip
    if quiet or terminal:
        assert seen == {"disable": quiet, "delay": 1, "dynamic_ncols": True}
    else:
        assert seen.pop("file").stream is sys.stderr
        assert seen == {"mininterval": 60, "maxinterval": 60, "delay": 60, "ncols": 90}


def test_bars_count_all_that_there_is(monkeypatch, tmp_path):
    """Tasks of a sweep, here and by an executor, steps of a run in segments, values of a search."""
    made = []

    def recorded(**options):
        made.append(tqdm(**options | {"file": io.StringIO(), "disable": False, "delay": 0}))
        return made[-1]

    monkeypatch.setattr(progress, "tqdm", recorded)
    am.sweep(lambda a: 2 * a, a=np.arange(6.0), chunk=2, progress=True)
    with ThreadPoolExecutor(1) as pool:
        store = tmp_path / "s.zarr"
        am.sweep(doubled, a=np.arange(4.0), seeds=None, chunk=1, store=store, executor=pool, progress=True)
    task = am.two_tokens(0.5, 0.75)

    def segment(previous, steps):
        descent = am.Descent(optax.sgd(1.0), steps)
        return am.simulate(task, am.LinearMemory.zeros(task), descent, resume=previous, resumable=True)

    am.in_segments(segment, 6, 2, progress=True)
    search = am.threshold(lambda key, d: d / 8, smallest=1, largest=7, seeds=2, trials=1000, progress=True)
    seen = [(bar.total, bar.n, bar.unit, bar.desc) for bar in made]
    assert seen == [
        (3, 3, "task", "6 lanes"), (4, 4, "task", "4 lanes"), (6, 6, " steps", ""),
        (None, len(search.values), " values", "threshold"),
    ]  # fmt: skip


def doubled(a):
    return 2 * a


def test_colours_are_named_by_the_variable_or_as_told():
    table = xr.DataArray(np.arange(4.0).reshape(2, 2), {"a": [1, 2], "b": [1, 2]}, ("a", "b"), "some_thing")
    for label, said in ((None, "some thing"), ("told", "told")):
        figure = plot.heatmap(table, x="a", y="b", label=label)
        assert said in {ax.get_ylabel() for ax in figure.axes}
