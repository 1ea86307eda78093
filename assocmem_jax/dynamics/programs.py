"""Programs: how many are kept compiled, 8 to 18 MB each, while a process lives; and which one is which."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.extend import core as jex

from .. import machine

# Shapes of runs that are kept compiled. ``jax.clear_caches()`` forgets all of them at any time.
MOST = 128

_traced = _known = 0


def traced() -> None:
    """Called where a run is traced, which is when its program is compiled."""
    global _traced
    _traced += 1


def bounded(look: bool = False) -> None:
    """Forget all programs once there are too many, these or others of the process; the next runs compile
    theirs again. ``look``: at those others also where no run has been traced since the last time."""
    global _traced, _known
    if _traced > MOST or ((look or _traced != _known) and machine.crowded()):
        jax.clear_caches()
        _traced = 0
    _known = _traced


def digest(jaxpr: Any) -> Any:
    """SHA-256 of what a traced program computes, its constants in it: to be updated with what else counts."""
    # str(jaxpr) has colours where stdout is a terminal, as mpiexec makes it.
    text = re.sub(r"0x[0-9a-f]+", "", jaxpr.pretty_print(use_color=False)).encode()
    mixed = hashlib.sha256(text)
    for constant in _constants(jaxpr):
        mixed.update(f"{constant.dtype}{constant.shape}".encode() + constant.tobytes())
    return mixed


def inner(eqn: Any) -> Iterator[Any]:
    """The jaxprs inside an equation."""
    for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
        if hasattr(value, "eqns") or hasattr(value, "jaxpr"):
            yield value


def _constants(jaxpr: Any) -> Iterator[np.ndarray]:
    for constant in getattr(jaxpr, "consts", ()):
        a_key = jnp.issubdtype(jnp.result_type(constant), jax.dtypes.prng_key)
        yield np.asarray(jr.key_data(constant) if a_key else constant)
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        for atom in eqn.invars:
            if isinstance(atom, jex.Literal) and np.ndim(atom.val):
                yield np.asarray(atom.val)
        for part in inner(eqn):
            yield from _constants(part)
