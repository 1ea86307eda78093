"""What must happen: closed forms, bounds and invariants, of every system. Imports nothing of the simulator.

Functions take numbers and arrays (and read p(x) and embeddings off a task where that is kinder);
they broadcast, jit, vmap and differentiate. Every docstring says where we differ from print. What is of
training holds under cross-entropy (Cooc: logistic loss), and refuses a task of another loss.
"""

from .systems import lazily, wings

_HOMES = {
    **{
        name: f"assocmem_jax.numerics.special:{name}"
        for name in ("exponential_root", "growth", "lam", "lambert_w0", "lambert_wm1")
    },
    "information": "assocmem_jax.numerics.information",
    **{name: f"{wing.package}.{module}" for wing in wings().values() for name, module in wing.theory.items()},
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(_HOMES, globals())
