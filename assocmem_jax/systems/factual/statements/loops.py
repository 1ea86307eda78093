"""The second route of factual recall, in NumPy and SciPy, sharing nothing with the simulator."""

from typing import Any

import numpy as np
from scipy.integrate import quad


def loss(v: Any, A: Any, facts: Any, p: Any, noise: Any) -> Any:
    """Σ p(s, r) (−log p(a*)) of linear attention, pair by pair; of complex weights too.

    ``noise``: how often every token is in each text besides s and r; S; how often s and r are."""
    counts, S, mentions = noise
    total: Any = 0
    for s, r in np.ndindex(*np.shape(p)):
        often = np.array(counts, float)
        often[s] += mentions[0]
        often[S + r] += mentions[1]
        scores = A @ (v * often)
        e = np.exp(scores - scores[0])
        total = total - p[s, r] * np.log(e[facts[s, r]] / e.sum())
    return total


def slopes(v: Any, A: Any, *problem: Any) -> tuple[Any, Any]:
    """(∂L/∂v, ∂L/∂A) by complex step."""
    found = []
    for place in range(2):
        slope = np.zeros(np.shape((v, A)[place]))
        for entry in range(slope.size):
            parts = [np.array(v, complex), np.array(A, complex)]
            parts[place].flat[entry] += 1e-30j
            slope.flat[entry] = np.imag(loss(*parts, *problem)) / 1e-30
        found.append(slope)
    return found[0], found[1]


def halves(S: float, R: float, D: float, mentions: Any = (1, 1)) -> tuple[tuple, tuple]:
    """(n, c, κ, μ) of subjects and of relations."""
    return (D, R * (1 - 1 / D), D / (S * R), mentions[0]), (R, D * (1 - 1 / R), 1 / D, mentions[1])


def rate(half: tuple) -> float:
    n, c, kappa, mu = half
    return mu * kappa * np.sqrt(c) / n


def speed(half: tuple, m: float, start: float) -> float:
    """dm/dt of d(μ v x): μ²κ(v² + c x²)/(e^m + n − 1), with v² − c x² = α²."""
    n, c, kappa, mu = half
    return mu * kappa * np.sqrt((mu * start**2) ** 2 + 4 * c * m**2) / (np.exp(m) + n - 1)


def time(half: tuple, m: float, start: float) -> float:
    """∫ dm/(dm/dt), in log m from where it is far below α²."""
    low = 1e-9 * start**2
    lead = low / speed(half, 0.0, start)
    slow = lambda u: np.exp(u) / speed(half, np.exp(u), start)  # noqa: E731
    ends = np.linspace(np.log(low), np.log(m), 12)
    parts = [quad(slow, a, b, epsabs=0, epsrel=1e-13)[0] for a, b in np.stack([ends[:-1], ends[1:]], 1)]
    return lead + sum(parts)


def margin_of_loss(half: tuple, level: float) -> float:
    return np.log((half[0] - 1) / np.expm1(level))


def bracket(half: tuple, level: float, start: float) -> tuple[float, float]:
    """Ends of the time of the fall to a loss: θ/λ and (θ + 1/(2(e^ℓ − 1)))/λ, θ = ½ asinh(m/ε)."""
    epsilon = half[3] * start**2 / (2 * np.sqrt(half[1]))
    theta = np.arcsinh(margin_of_loss(half, level) / epsilon) / 2
    return theta / rate(half), (theta + 1 / (2 * np.expm1(level))) / rate(half)


def loss_at(half: tuple, t: float, start: float) -> float:
    """The loss of a half at a time: m by bisection of ``time`` in log m."""
    low, high = np.log(start**2) - 40, np.log(60.0)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if time(half, np.exp(middle), start) < t else (low, middle)
    return np.log1p((half[0] - 1) * np.exp(-np.exp(low)))
