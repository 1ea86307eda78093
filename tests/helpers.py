"""Independent truth: NumPy and SciPy, written from the papers' formulas, sharing no code with the package."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp


def random_problem(seed, n=4, m=3, d=5, k=6, soft=False, scale=1.0):
    """Non-orthogonal E, U; random p and f* (or p(y|x)); W0."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(n))
    targets = rng.dirichlet(np.ones(m), size=n) if soft else rng.integers(0, m, n)
    inputs = rng.normal(size=(n, d)) / np.sqrt(d)
    outputs = rng.normal(size=(m, k)) / np.sqrt(k)
    return p, targets, inputs, outputs, scale * rng.normal(size=(k, d))


def conditional(targets, m):
    return np.eye(m)[targets] if targets.ndim == 1 else targets


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def loss(weight, p, targets, inputs, outputs):
    """Token by token, class by class: GD (2)–(3)."""
    q = conditional(targets, len(outputs))
    total = 0.0
    for x in range(len(p)):
        scores = np.array([u @ weight @ inputs[x] for u in outputs])
        top = scores.max()
        normaliser = top + np.log(sum(np.exp(s - top) for s in scores))
        total += p[x] * sum(q[x, y] * (normaliser - scores[y]) for y in range(len(outputs)))
    return total


def gradient(weight, p, targets, inputs, outputs):
    """GD (9), token by token."""
    q = conditional(targets, len(outputs))
    total = np.zeros_like(weight)
    for x in range(len(p)):
        prediction = softmax(outputs @ weight @ inputs[x])
        total += p[x] * np.outer((prediction - q[x]) @ outputs, inputs[x])
    return total


def hessian(weight, p, inputs, outputs):
    """GD (26), term by term."""
    k, d = weight.shape
    total = np.zeros((k * d, k * d))
    for x in range(len(p)):
        prediction = softmax(outputs @ weight @ inputs[x])
        tensors = [np.outer(u, inputs[x]).ravel() for u in outputs]
        for z in range(len(outputs)):
            for y in range(len(outputs)):
                factor = prediction[z] * ((z == y) - prediction[y])
                total += p[x] * factor * np.outer(tensors[z], tensors[y])
    return total


def margins(weight, targets, inputs, outputs):
    """GD (22)."""
    scores = inputs @ weight.T @ outputs.T
    return np.array([s[y] - max(s[j] for j in range(len(s)) if j != y) for s, y in zip(scores, targets)])


def vector_gradient(weight, p, q, inputs, outputs):
    """GD (9) again, vectorised: for long NumPy loops (checked against the loop above)."""
    return outputs.T @ (p[:, None] * (softmax(inputs @ weight.T @ outputs.T) - q)).T @ inputs


def orthonormal(rng, n, d):
    return np.linalg.qr(rng.normal(size=(d, n)))[0].T


def slope(x, y):
    """Least-squares slope of log y against log x, and R²."""
    x, y = np.log(np.asarray(x)), np.log(np.asarray(y))
    a, b = np.polyfit(x, y, 1)
    residual = y - (a * x + b)
    return a, 1 - residual.var() / y.var()


def numpy_steps_to_perfect(p, targets, inputs, outputs, rate, steps):
    """(first, stable) step at which every token's own class has the largest score; −1: never."""
    weight = np.zeros((outputs.shape[1], inputs.shape[1]))
    first, since = -1, -1
    for t in range(steps + 1):
        scores = inputs @ weight.T @ outputs.T
        own = scores[np.arange(len(p)), targets]
        rivals = np.where(np.eye(len(outputs), dtype=bool)[targets], -np.inf, scores).max(axis=1)
        if (own > rivals).all():
            first = t if first < 0 else first
            since = t if since < 0 else since
        else:
            since = -1
        weight -= rate * gradient(weight, p, targets, inputs, outputs)
    return first, since


def few(cases, keep=1):
    """Of cases of one kind the first ``keep`` are fast tests, the others `make thorough`'s."""
    cases = list(cases)
    later = [
        pytest.param(*(c if isinstance(c, tuple) else (c,)), marks=pytest.mark.thorough) for c in cases[keep:]
    ]
    return cases[:keep] + later


def refused(call, message):
    """A ``ValueError`` of one line that begins with this."""
    try:
        call()
    except ValueError as fault:
        assert str(fault).startswith(message), fault
        assert "\n" not in str(fault)
    else:
        raise AssertionError(f"not refused: {message}")


def run_python(code: str) -> None:
    """A fresh interpreter, for settings that JAX takes once (-P: no package from the working directory)."""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def script(name: str, room: str = "scripts") -> Any:
    """A module of scripts/, or of another room of the repository, which stand beside one another."""
    import importlib
    import sys

    folder = str(Path(__file__).parents[1] / room)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def two_particle_reference(t1, p1, alpha, c=2.0):
    """GD (17) by SciPy's DOP853 in log time, near its tightest tolerance."""

    def field(s, m):
        pull = np.array([p1, 1 - p1]) / (1 + np.exp(m))
        return np.exp(s) * c * (pull - alpha * pull[::-1])

    run = solve_ivp(field, (0, np.log1p(t1)), np.zeros(2), "DOP853", rtol=3e-14, atol=1e-16)
    assert run.success
    return run.y[:, -1]
