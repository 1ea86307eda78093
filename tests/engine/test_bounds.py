"""Limits from both sides: what is just inside is taken, what is just outside is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

import assocmem_jax as am
from assocmem_jax import machine
from assocmem_jax.dynamics import room
from assocmem_jax.dynamics.base import Request
from assocmem_jax.sweeps import axes, plan
from assocmem_jax.sweeps.tiles import Program

TASK = am.two_tokens(0.5, 0.75)
ZERO = am.LinearMemory.zeros(TASK)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_rounding_may_do_to_a_gram_matrix(scale, dtype):
    """4nε·max|λ|, n = 2. Eigenvalues of a diagonal matrix are exact, so 10 % either side decides."""
    slack = 8 * float(np.finfo(dtype).eps) * scale
    of = lambda *rows: jnp.asarray(np.array(rows, dtype))  # noqa: E731
    below = lambda by: am.embeddings.from_gram(of((scale, 0), (0, -by * slack)))  # noqa: E731
    np.testing.assert_allclose(below(0.9)[0], (scale**0.5, 0), rtol=1e-6)
    with pytest.raises(ValueError, match="gram must be positive semi-definite"):
        below(1.1)
    apart = lambda by: am.embeddings.from_gram(of((scale, by * slack), (0, scale)))  # noqa: E731
    assert apart(3.6).shape == (2, 2)  # four times it, of the asymmetry
    with pytest.raises(ValueError, match="gram must be symmetric"):
        apart(4.4)
    narrow = lambda by: am.embeddings.from_gram(of((scale, 0), (0, by * slack)), 1)  # noqa: E731
    assert narrow(0.9).shape == (2, 1)
    with pytest.raises(ValueError, match="d must be at least the rank 2"):
        narrow(1.1)


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_the_least_common_cosine(n):
    """−1/(n−1), and two roundings (2ε of it) below: n − 1 is a power of two, so these are exact."""
    low, eps = -1 / (n - 1), float(jnp.finfo(jnp.float64).eps)
    for alpha in (low, low * (1 + 2 * eps)):
        rows = np.asarray(am.embeddings.equicorrelated(n, alpha))
        np.testing.assert_allclose((rows @ rows.T)[0, 1], low, rtol=16 * eps)
    with pytest.raises(ValueError, match="alpha must be between"):
        am.embeddings.equicorrelated(n, low * (1 + 3 * eps))


def _double(a):
    return {"x": 2 * a}


def leave(monkeypatch, free):
    monkeypatch.setattr(machine, "free", lambda device=None: free)


def test_a_sweep_that_just_fits(monkeypatch):
    """1,000 bytes for tiles, 200 for a box of six lanes and 6 (8 + 1) for what is kept of it, each worker."""
    monkeypatch.setattr(Program, "bytes_needed", property(lambda self: (1000, 200)))
    made = plan.prepare(_double, axes.grid({"a": np.arange(6.0)}, None), tile=8, chunk=6)
    built, rows = plan.program(made), 6 * (8 + 1)
    for workers in (1, 3):
        leave(monkeypatch, workers * (1200 + rows))
        plan.guard(made, built, workers)
        leave(monkeypatch, workers * (1200 + rows) - 1)
        with pytest.raises(MemoryError, match=r"tile: the program needs .*; try tile=4, chunk="):
            plan.guard(made, built, workers)
    # What it says to try: a tile whose part is half of what is free, a box whose part is a quarter.
    leave(monkeypatch, 508)
    with pytest.raises(MemoryError, match=r"try tile=2, chunk=3$"):  # 1000·2/8 ≤ 254; ⌊6·508/(4·254)⌋
        plan.guard(made, built, 1)
    leave(monkeypatch, 0)
    with pytest.raises(MemoryError, match=r"try tile=1, chunk=1$"):
        plan.guard(made, built, 1)


def test_a_sweep_in_memory_that_just_fits(monkeypatch):
    """Six rows of 8 + 1 bytes, twice: what is on its way is held beside the result."""
    monkeypatch.setattr(Program, "bytes_needed", property(lambda self: (0, -54)))  # the guard out of the way
    points = np.arange(6.0)
    leave(monkeypatch, 2 * 6 * 9)
    assert am.sweep(_double, a=points).x.shape == (6,)
    leave(monkeypatch, 2 * 6 * 9 - 1)
    with pytest.raises(ValueError, match="store must be a directory"):
        am.sweep(_double, a=points)


def test_looks_that_just_fit(monkeypatch):
    """A float64 (the loss) and 64 bytes each."""
    request, looks = Request({"loss": am.loss}), 2**24
    leave(monkeypatch, looks * 72)
    room.refuse_looks(TASK, ZERO, request, looks, 1)
    leave(monkeypatch, looks * 72 - 1)
    with pytest.raises(MemoryError, match=r"look less often: every=5$"):  # ⌈4 need/free⌉
        room.refuse_looks(TASK, ZERO, request, looks, 1)


def test_a_batch_that_just_fits(monkeypatch):
    """Its scores, two float64 an example."""
    leave(monkeypatch, 16 * 2**20)
    room.refuse_batch(TASK, ZERO, 2**20, None)
    leave(monkeypatch, 16 * 2**20 - 1)
    with pytest.raises(MemoryError, match=r"batch_size: .*; try 131,071, or microbatch=131,071$"):  # ⅛
        room.refuse_batch(TASK, ZERO, 2**20, None)


def test_inner_products_that_just_fit(monkeypatch):
    """N² + N M + M² float64 at N = M = 2."""
    leave(monkeypatch, 8 * 12)
    assert am.ParticleSystem.zeros(TASK).scores(TASK).shape == (2, 2)
    leave(monkeypatch, 8 * 12 - 1)
    with pytest.raises(ValueError, match="task must be small enough for N"):
        am.ParticleSystem.zeros(TASK)


def test_what_is_free_is_the_least_of_machine_and_group(monkeypatch, tmp_path):
    """The files that Linux has for both, written here: no limit, limits above and below."""
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/").replace("/", "-"))

    def put(**files):
        for name, text in files.items():
            (tmp_path / {"limit": "sys-fs-cgroup-memory.max", "used": "sys-fs-cgroup-memory.current",
                         "info": "proc-meminfo"}[name]).write_text(text, encoding="ascii")  # fmt: skip
        return machine.free()

    assert machine.free() is None
    assert put(info="MemTotal: 9 kB\nMemAvailable:  3 kB\n") == 3 * 1024
    assert put(limit="max\n", used="5\n") == 3 * 1024
    assert put(limit="2000\n", used="500\n") == 1500
    assert put(limit="9000000\n") == 3 * 1024
    assert put(limit="400\n") == 0
