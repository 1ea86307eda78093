"""What users meet: of which kind every attribute of a public class is, and that each call asks for what it is
for before anything else."""

import inspect
import json
import sys

import pytest
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
    "kaiming(law)", "from_weights(model)", "gradient_norm(task)", "gradient_norm(model)", "capacity(key)",
    "lanczos_top(key)", "observable(task)", "observable(model)", "simulate(task)", "simulate(model)",
    "simulate(key)", "threshold(key)", "time_to_perfect(task)", "truncated(model)", "ablated(model)",
    "patched(model)", "scores_moved(model)", "name_of(task)",
}  # fmt: skip


def calls():
    """(call, argument) of every public function and method of a class that is given a task, a model, a law or
    a key; observables are asked in test_house.py."""
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
            if not where.rpartition(".")[2].startswith("_") and name.rpartition(".")[2] not in LATER:
                yield pytest.param(call, argument, id=name)


@pytest.mark.parametrize(("call", "argument"), sorted(calls(), key=lambda p: p.id))
def test_calls_ask_for_what_they_are_for(call, argument):
    wanted = "a typed key, got 3" if argument == "key" else "of the class "
    helpers.refused(lambda: call(**{argument: 3}), f"{argument} must be {wanted}")


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
