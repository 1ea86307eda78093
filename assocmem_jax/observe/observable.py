"""What an observable is: a function ``(task, model) -> array`` that names its axes, its unit and its task."""

import functools
from collections.abc import Callable
from typing import Any

from .. import checks, systems

Kinds = type | tuple[type, ...]
Units = str | Callable[[Any], str]


def observable(
    axes: tuple[str, ...] = (), units: Units = "1", *, task: Kinds = object, model: Kinds = object
) -> Callable[[Callable], Callable]:
    """Decorator of a function ``(task, model, …) -> array``; a plain function is an observable too.

    - ``axes``: names of the axes of the array, for Datasets. ``units``: of its numbers (or a function of the
      task that says).
    - ``task``, ``model``: the classes it is for (or a protocol, whose docstring says what it asks for). Any
      other is refused in one line, before the function runs: what a model lacks is no ``AttributeError``.
    """

    asked = {"task": task, "model": model}

    def mark(function: Callable) -> Callable:
        @functools.wraps(function)
        def looked(task: Any, model: Any, *more: Any, **options: Any) -> Any:
            for argument, value in (("task", task), ("model", model)):
                if not isinstance(value, asked[argument]):
                    checks.refuse(argument, *_words(asked[argument], type(value).__name__, function.__name__))
            checks.fits(task, model)
            with checks.standard():
                return function(task, model, *more, **options)

        looked.axes, looked.units = axes, units  # pyright: ignore[reportAttributeAccessIssue]
        return looked

    return mark


def _words(kinds: Kinds, actual: str, name: str) -> tuple[str, str, str]:
    """(what is required, what it was, what to do): a protocol's docstring is "what; what to do"."""
    first = kinds[0] if isinstance(kinds, tuple) else kinds
    if getattr(first, "_is_protocol", False):
        required, _, remedy = (first.__doc__ or "").partition("; ")
        return required, actual, remedy
    every = kinds if isinstance(kinds, tuple) else (kinds,)
    return "a " + " or ".join(kind.__name__ for kind in every), actual, f"{name} is for no other"


def labels(name: str, function: Callable | None = None, task: Any = None) -> tuple[tuple[str, ...], str]:
    """(axes, units) of what is observed of a task under a name: as its function says; without one, as the
    observable of that name (``am.memory.gammas``) does, wherever it lives; else none."""
    function = getattr(function, "func", function)  # of an eqx.Partial
    if function is None or not hasattr(function, "axes"):
        function = _known().get(name, lambda: None)()
    units: Any = getattr(function, "units", "1")
    return getattr(function, "axes", ()), str(units(task)) if callable(units) else units


@functools.cache
def _known() -> dict[str, Callable[[], Any]]:
    """Name → how to load the observable of that name: the engine's, then those of the wings."""
    homes = {
        name: home
        for wing in systems.wings().values()
        for name, home in wing.homes().items()
        if home.startswith(f"{wing.package}.observe:")
    }
    homes |= {name: f"{__package__}.quality:{name}" for name in ("loss", "error", "margins")}
    return {name: functools.partial(systems.opened, home) for name, home in homes.items()}
