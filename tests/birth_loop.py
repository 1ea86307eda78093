"""Birth's experiment once more, in NumPy: own sampler, forward pass, gradients by hand, SGD.

Shares no code with the package; every setting that might decide an outcome is an argument.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Text:
    """π_u, π_b, and triggers: tokens, or how many are drawn from π_u without replacement."""

    unigram: np.ndarray
    bigram: np.ndarray
    triggers: tuple[int, ...] | int
    length: int = 64
    outputs: str = "uniform"
    repeat: bool = True

    def draw(self, rng, n):
        """(tokens (n, T + 1), occurrence (n, T)): 0 where no trigger stands, else how many times it stood."""
        size, rows = len(self.unigram), np.arange(n)
        if isinstance(self.triggers, int):
            race = rng.exponential(size=(n, size)) / np.maximum(self.unigram, 1e-300)
            triggers = np.argsort(race, axis=1)[:, : self.triggers]
        else:
            triggers = np.tile(self.triggers, (n, 1))
        forced = np.full((n, size), -1)
        for column in triggers.T:
            law = self.bigram[column] if self.outputs == "bigram" else np.ones((n, size))
            law = law * (np.arange(size) != column[:, None]) if not self.repeat else law
            forced[rows, column] = pick(rng, law / law.sum(axis=1, keepdims=True))
        tokens = np.empty((n, self.length + 1), int)
        tokens[:, 0] = pick(rng, np.tile(self.unigram, (n, 1)))
        seen, occurrence = np.zeros((n, size), int), np.zeros((n, self.length), int)
        for t in range(self.length):
            now = tokens[:, t]
            is_trigger = forced[rows, now] >= 0
            seen[rows, now] += is_trigger
            occurrence[:, t] = np.where(is_trigger, seen[rows, now], 0)
            tokens[:, t + 1] = np.where(is_trigger, forced[rows, now], pick(rng, self.bigram[now]))
        return tokens, occurrence


def pick(rng, laws):
    """One outcome of each row."""
    total = np.cumsum(laws, axis=1)
    return np.sum(rng.random((len(laws), 1)) * total[:, -1:] >= total, axis=1)


def start(
    rng, size, length, width, *, feedforward=True, embeddings=1.0, trained=1.0, dtype: Any = np.float32
):
    """Parts of the model: w_E, p ~ N(0, embeddings²), matrices uniform on ±d^{−½} (trained ones times
    ``trained``)."""
    matrix = lambda rows, by=1.0: by * rng.uniform(-1, 1, (rows, width)) / np.sqrt(width)  # noqa: E731
    parts = dict(
        embedding=embeddings * rng.normal(size=(size, width)),
        positions=embeddings * rng.normal(size=(length, width)),
        unembedding=matrix(size),
        output1=matrix(width),
        value1=matrix(width),
        value2=matrix(width),
        key1=matrix(width, trained),
        key2=matrix(width, trained),
        output2=matrix(width, trained),
    )
    if feedforward:
        parts["feedforward"] = matrix(width, trained)
    return {name: part.astype(dtype) for name, part in parts.items()}


def attend(scores):
    scores = np.where(np.tri(scores.shape[-1], dtype=bool), scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def forward(parts, tokens, scaled=True):
    """Scores of the next token, and what the gradients need."""
    p = parts
    scale = 1 / np.sqrt(p["key2"].shape[0]) if scaled else 1.0
    x = p["embedding"][tokens] + p["positions"][: tokens.shape[1]]
    first = attend(scale * (x @ p["key1"]) @ x.swapaxes(1, 2))
    x1 = x + first @ x @ (p["output1"] @ p["value1"]).T
    query = x1 @ p["key2"]
    second = attend(scale * query @ x1.swapaxes(1, 2))
    mixed = second @ x1
    h = x1 + mixed @ (p["output2"] @ p["value2"]).T
    read = h + h @ p["feedforward"].T if "feedforward" in p else h
    return read @ p["unembedding"].T, (scale, x, first, x1, query, second, mixed, h)


def losses(scores, targets):
    """Cross-entropy at every position, and its gradient."""
    scores = scores - scores.max(axis=-1, keepdims=True)
    e = np.exp(scores)
    total = e.sum(axis=-1, keepdims=True)
    own = np.take_along_axis(scores, targets[..., None], axis=-1)
    gradient = e / total
    np.put_along_axis(
        gradient, targets[..., None], np.take_along_axis(gradient, targets[..., None], -1) - 1, -1
    )
    return (np.log(total) - own)[..., 0], gradient


def outer(a, b):
    """Σ over sequences and positions of a bᵀ."""
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])


def through(weights, gradient, scale):
    """From the gradient of attention weights to that of the scalar products."""
    return scale * weights * (gradient - np.sum(weights * gradient, axis=-1, keepdims=True))


def gradients(parts, tokens, weights, scaled=True):
    """(loss at every position, scores, gradients of the trained parts) of Σ weights · loss / Σ weights."""
    p = parts
    scores, (scale, x, first, x1, query, second, mixed, h) = forward(p, tokens[:, :-1], scaled)
    each, pull = losses(scores, tokens[:, 1:])
    pull *= (weights / weights.sum())[..., None].astype(pull.dtype)
    pull = pull @ p["unembedding"]
    found = {}
    if "feedforward" in p:
        found["feedforward"] = outer(pull, h)
        pull = pull + pull @ p["feedforward"]
    found["output2"] = outer(pull, mixed) @ p["value2"].T
    back = pull @ (p["output2"] @ p["value2"])
    inner = through(second, back @ x1.swapaxes(1, 2), scale)
    right = inner @ x1
    found["key2"] = outer(x1, right)
    back = pull + second.swapaxes(1, 2) @ back + inner.swapaxes(1, 2) @ query + right @ p["key2"].T
    inner = through(first, back @ (p["output1"] @ p["value1"]) @ x.swapaxes(1, 2), scale)
    found["key1"] = outer(x, inner @ x)
    return each, scores, found


def step(parts, velocity, gradient, rate, momentum=0.9, decay=1e-4):
    """SGD as PyTorch has it: v ← βv + g + λw, w ← w − ηv. Returns new parts and velocities."""
    velocity = {
        name: momentum * velocity.get(name, 0) + g + decay * parts[name] for name, g in gradient.items()
    }
    return parts | {name: parts[name] - rate * v for name, v in velocity.items()}, velocity


def recall_output2(parts):
    """R of W_O²."""
    scores = parts["embedding"] @ (parts["output2"] @ parts["value2"]).T @ parts["unembedding"].T
    return np.mean(scores.argmax(axis=1) == np.arange(len(scores)))


def train(text, parts, rng, steps, batch, *, rate=1.0, momentum=0.9, decay=1e-4, on="all", scaled=True):
    """Rows (step, in-context loss, global loss, accuracy, R of W_O²) of each fresh batch before its
    step."""
    velocity, rows = {}, []
    for k in range(steps + 1):
        tokens, occurrence = text.draw(rng, batch)
        again = occurrence >= 2
        weights = np.ones(again.shape) if on == "all" else again.astype(float)
        each, scores, gradient = gradients(parts, tokens, weights, scaled)
        right = scores.argmax(-1) == tokens[:, 1:]
        rows.append(
            (k, each[again].mean(), each[occurrence == 0].mean(), right[again].mean(), recall_output2(parts))
        )
        parts, velocity = step(parts, velocity, gradient, rate, momentum, decay)
    return np.array(rows), parts
