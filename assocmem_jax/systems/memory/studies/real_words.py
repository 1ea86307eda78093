"""Memories of real words, beside random embeddings of the same width: spectrum, capacity, training."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special
import xarray as xr

import assocmem_jax as am

from .... import checks
from ....studies.kit import Parts, bound, interval, searched
from ..theory import outer_product, two_particles
from .real_figure import FAMILIES, LABELS, OPTIMIZERS, TWO, labelled
from .real_figure import figure as figure
from .real_schema import RealWords

RULES = {"sgd": optax.sgd, "adam": optax.adam, "sign": optax.sign_sgd}


def run(study: RealWords, scratch: Path | None) -> xr.Dataset:
    words = am.memory.real_words(**({} if study.table is None else study.table.model_dump()))
    width = len(words.vectors[0])
    for name, value, most in (
        ("written.sizes", max(study.written.sizes), len(words.names)),
        ("optimizers.tokens", study.optimizers.tokens, len(words.names)),
        ("edge.tokens", study.edge.tokens, len(words.names)),
        ("search.dimensions", max(study.search.dimensions), width),
    ):
        if value > most:
            checks.refuse(
                name, f"at most {most} for this table ({len(words.names)} words of {width} numbers)", value
            )
    for name in (name for pair in study.pairs.shown for name in pair):
        if name not in words.names:
            checks.refuse("pairs.shown", "of words in the table", repr(name))
    embeddings = _embeddings(study, jnp.asarray(words.vectors))
    with Parts(scratch, 4 + len(FAMILIES)) as part:
        spectrum = part("spectrum", lambda: _spectrum(embeddings))
        written = [part(f"written-{f}", lambda f=f: _written(study, embeddings[f])) for f in FAMILIES]
        capacity = part("capacity", lambda: _capacity(study, embeddings))
        pairs = part("pairs", lambda: _pairs(study, words, embeddings["real"]))
        trained = part(
            "trained", lambda: _optimizers(study, words, embeddings) | _edge(study, words, embeddings)
        )
    recall = {name: np.stack([one[name] for one in written]) for name in ("recall", "predicted")}
    axes: dict[str, Any] = {
        "spectrum": ("family", "axis"), "rank": ("family",), "recall": ("family", "size", "seed"),
        "predicted": ("family", "size"),
        **dict.fromkeys(("capacity", "low", "high", "censored"), ("training", "two", "dimension")),
        "loss": ("near", "drawn_rate", "step"), "cosine": ("near",), "share": ("near",),
        "count": ("shown", "rate"), "limit": ("shown",), "exact_from": ("shown",),
        **dict.fromkeys(("fewest", "least", "pair_cosine", "pair_share"), ("pair",)),
        "right": ("two", "optimizer", "token"),
        **dict.fromkeys(("trained_loss", "chosen", "edge_of_grid"), ("two", "optimizer")),
        **dict.fromkeys(("sharpness", "edge_loss"), ("two", "edge_rate", "look")),
    }  # fmt: skip
    every = {**spectrum, **recall, **capacity, **pairs, **trained}
    data = {name: (dims, every[name]) for name, dims in axes.items()}
    coordinates = {
        "size": list(study.written.sizes), "dimension": list(study.search.dimensions),
        "rate": study.pairs.learning_rates.points(), "drawn_rate": list(study.pairs.drawn_rates),
        "step": np.arange(study.pairs.steps + 1), "edge_rate": list(study.edge.learning_rates),
        "look": every["looks"],
    }  # fmt: skip
    about = {
        "words": len(words.names),
        "compared": every["compared"].tolist(),
        "shown": every["names"].tolist(),
    }
    return xr.Dataset(data, coordinates, LABELS | about)


def _embeddings(study: RealWords, vectors: Any) -> dict[str, Any]:
    random = am.embeddings.gaussian(jax.random.key(study.seed), *vectors.shape)
    made = {"real": vectors, "centred": am.embeddings.centred(vectors),
            "whitened": am.embeddings.whitened(vectors), "random": random}  # fmt: skip
    return {family: am.embeddings.normalised(made[family]) for family in FAMILIES}


def _spectrum(embeddings: dict[str, Any]) -> dict[str, Any]:
    """Eigenvalues of EᵀE/N, which sum to one; effective rank: the exponential of their entropy."""
    known = [np.asarray(rows, float) for rows in embeddings.values()]
    values = np.stack([np.linalg.eigvalsh(rows.T @ rows / len(rows))[::-1] for rows in known])
    values = np.maximum(values, 0)
    return {"spectrum": values, "rank": np.exp(scipy.special.entr(values).sum(axis=1))}


def _task(rows: Any, key: Any, law: Any = None) -> am.AssociationTask:
    """Every word its own answer, outputs on the sphere."""
    n, d = rows.shape
    law = am.laws.uniform(n) if law is None else jnp.asarray(law / law.sum(), rows.dtype)
    return am.AssociationTask(law, jnp.arange(n), rows, am.embeddings.sphere(key, n, d))


def _written(study: RealWords, rows: Any) -> dict[str, Any]:
    """Recall of the most frequent N, measured and predicted from their Gram matrix."""

    @jax.jit
    def recall(first, key):
        task = _task(first, key)
        return 1 - am.error(task, am.LinearMemory.outer_product(task))

    @jax.jit
    def predicted(first):
        return outer_product.gram_recall(am.embeddings.gram(first), first.shape[1]).mean()

    keys = jax.random.split(jax.random.key(study.seed + 1), study.written.seeds)
    sizes = study.written.sizes
    return {
        "recall": np.stack([[recall(rows[:n], key) for key in keys] for n in sizes]),
        "predicted": np.stack([predicted(rows[:n]) for n in sizes]),
    }


def _capacity(study: RealWords, embeddings: dict[str, Any]) -> dict[str, Any]:
    """N over d of written and trained memories; d coordinates of real embeddings, drawn for each seed."""
    search, found = study.search, []

    def trained(task, key):
        descent = am.Descent(optax.adam, search.steps, learning_rate=search.learning_rate)
        start = am.LinearMemory.zeros(task)
        return am.simulate(task, start, descent, observe={}, every=search.steps, throw=False).model

    for build in (lambda task, key: am.LinearMemory.outer_product(task), trained):
        for family in TWO:
            rows = embeddings[family]
            for d in search.dimensions:
                if build is trained and d > search.trained_to:
                    found.append([np.nan] * 4)
                    continue

                def draw(key, n, rows=rows, d=d):
                    words, axes, outputs = jax.random.split(key, 3)
                    kept = rows[jax.random.permutation(words, len(rows))[:n]]
                    kept = kept[:, jax.random.permutation(axes, rows.shape[1])[:d]]
                    return _task(am.embeddings.normalised(kept), outputs)

                # N log N ≈ d²: a trained memory holds fewer than d²/2, a written one fewer than that.
                largest = min(search.largest, len(rows), d * d // 2)
                result = am.capacity(
                    draw,
                    build,
                    search.target,
                    largest=largest,
                    seeds=search.seeds,
                    together=1,
                    resolution=0.02,
                    key=jax.random.key(study.seed + 2),
                )
                found.append(searched(result))
    shaped = np.array(found, float).reshape(2, 2, len(search.dimensions), 4)
    return dict(zip(("capacity", "low", "high", "censored"), np.moveaxis(shaped, -1, 0)))


def _pairs(study: RealWords, words: Any, rows: Any) -> dict[str, Any]:
    """Descent of two words and of many pairs, beside what two tokens of their cosine and frequencies do."""
    settings, often = study.pairs, words.counts
    gram = np.triu(np.asarray(am.embeddings.gram(rows[: settings.among]), float), 1)
    nearest = np.argsort(-gram, axis=None)[: settings.nearest]
    every = [tuple(int(k) for k in np.unravel_index(flat, gram.shape)) for flat in nearest]
    place = {name: k for k, name in enumerate(words.names)}
    # The more frequent of the two first, as words are in the order of their counts.
    shown = [tuple(sorted((place[a], place[b]))) for a, b in settings.shown] or every[:3]
    # Beside the first pair, a word about as frequent as its second and hardly correlated with its first.
    first, second = shown[0]
    alone = np.abs(np.asarray(rows[first] @ rows.T)) < 0.05
    alone[[first, second]] = False
    if not alone.any():
        checks.refuse("table", f"with a word that is hardly correlated with {words.names[first]!r}", "none")
    far = int(np.argmin(np.where(alone, np.abs(np.log(often / often[second])), np.inf)))

    def pair_task(pair):
        law = jnp.asarray(often[list(pair)] / often[list(pair)].sum(), rows.dtype)
        return am.AssociationTask(law, jnp.arange(2), rows[np.array(pair)], jnp.eye(2, dtype=rows.dtype))

    def loss(task, rate):
        descent = am.Descent(optax.sgd, settings.steps, learning_rate=rate)
        return am.simulate(task, am.LinearMemory.zeros(task), descent, observe=[am.loss]).observed["loss"]

    compared = [pair_task((first, second)), pair_task((first, far))]
    losses = [jax.vmap(lambda rate, t=t: loss(t, rate))(jnp.asarray(settings.drawn_rates)) for t in compared]
    rates = jnp.asarray(settings.learning_rates.points(), rows.dtype)

    @jax.jit
    @jax.vmap
    def steps(law, two):
        task = am.AssociationTask(law, jnp.arange(2), two, jnp.eye(2, dtype=two.dtype))
        return jax.vmap(lambda rate: am.time_to_perfect(task, rate, settings.horizon).stable_step)(rates)

    taken = np.array(every + shown)
    law = often[taken] / often[taken].sum(axis=1, keepdims=True)
    counts = np.asarray(steps(jnp.asarray(law, rows.dtype), rows[taken]))
    cosine = np.sum(np.asarray(rows[taken[:, 0]], float) * np.asarray(rows[taken[:, 1]], float), axis=1)
    least = np.where(counts < 0, np.iinfo(counts.dtype).max, counts).min(axis=1)
    limit = jax.vmap(lambda p, a: two_particles.perceptron_limit(p, a, settings.horizon))(law[:, 0], cosine)
    many, at = slice(len(every)), slice(len(every), None)
    return {
        "loss": np.stack(losses), "compared": [words.names[k] for k in (first, second, far)],
        "cosine": [float(t.inputs[0] @ t.inputs[1]) for t in compared],
        "share": [float(t.probabilities[0]) for t in compared],
        "names": [f"{words.names[a]}, {words.names[b]}" for a, b in shown],
        "count": counts[at], "limit": limit.steps[at], "exact_from": limit.rate[at] / 2,  # c = 2
        "fewest": two_particles.fewest_steps(law[many, 0], cosine[many]), "least": least[many],
        "pair_cosine": cosine[many], "pair_share": law[many, 0],
    }  # fmt: skip


def report(study: RealWords, data: Any) -> list[str]:
    data = labelled(data)
    lines = [
        f"{data.words} words; effective rank "
        + ", ".join(f"{family} {rank:.0f}" for family, rank in zip(data.family.values, data["rank"].values))
        + f" of {data.sizes['axis']}"
    ]
    for family in data.family.values:
        part = data.sel(family=family)
        mean, half = interval(part.recall.values)
        lines.append(f"written, {family}: recall " + ", ".join(
            f"{m:.4f} ± {h:.4f} at N = {n} (from the Gram matrix {p:.4f})"
            for n, m, h, p in zip(data["size"].values, mean, half, part.predicted.values)
        ))  # fmt: skip
    for training in data.training.values:
        for family in data.two.values:
            part = data.sel(training=training, two=family)
            lines.append(f"{training}, {family}: N at recall {study.search.target:g} = " + ", ".join(
                f"{bound(c)}{n:.0f} [{a:.0f}, {b:.0f}] at d = {d}" for d, n, a, b, c in
                zip(data.dimension.values, part.capacity.values, part.low.values, part.high.values,
                    part.censored.values) if np.isfinite(n)
            ))  # fmt: skip
    first, second, far = data.compared
    for name, other in (("near", second), ("far", far)):
        part = data.sel(near=name)
        about = f"cosine {float(part.cosine):.3f}, p₁ = {float(part.share):.3f}"
        lines.append(f"{first} and {other}: {about}; " + "; ".join(
            f"η = {rate:g}: highest loss {loss.max():.3f}, last {loss[-1]:.4f}"
            for rate, loss in zip(data.drawn_rate.values, part.loss.values)
        ))  # fmt: skip
    for part in (data.sel(shown=name) for name in data.shown.values):
        best = int(np.argmin(np.where(part["count"] < 0, np.inf, part["count"])))
        lines.append(
            f"{part.shown.values!s}: fewest steps {int(part['count'][best])}, first at η = "
            f"{part.rate.values[best]:.3g}; for η → ∞ {int(part.limit)}, exactly from η = "
            f"{float(part.exact_from):.3g} on"
        )
    known, fewest = data.least.values, data.fewest.values
    cosines = data.pair_cosine.values
    lines.append(
        f"{len(known)} nearest pairs, cosines {cosines.min():.3f} to {cosines.max():.3f}: "
        f"the best rate takes the fewest steps that theory allows in {(known == fewest).sum()}, more in "
        f"{(known > fewest).sum()}, less in {(known < fewest).sum()}"
    )
    tail = round((1 - study.rare) * data.sizes["token"])
    for family in data.two.values:
        for optimizer in data.optimizer.values:
            part = data.sel(two=family, optimizer=optimizer)
            right = part.right.values
            lines.append(
                f"{family}, {optimizer} at η = {float(part.chosen):.3g}"
                + (" (at the edge of its grid)" if part.edge_of_grid else "")
                + f": loss {float(part.trained_loss):.4f} after {study.optimizers.steps} steps; right are "
                f"{right[:tail].mean():.3f} of the head, {right[tail:].mean():.3f} of the tail"
            )
        for rate in data.edge_rate.values:
            part = data.sel(two=family, edge_rate=rate)
            loss, ratio = part.edge_loss.values, part.sharpness.values * rate / 2
            lines.append(
                f"{family}, η = {rate:g}: sharpness at most {ratio.max():.2f} × 2/η; loss from "
                f"{loss[0]:.2f}, highest {loss.max():.2f}, last {loss[-1]:.4f}"
            )
    return lines


def _optimizers(study: RealWords, words: Any, embeddings: dict[str, Any]) -> dict[str, Any]:
    """Which words are right after some steps of each optimizer, at its best rate of a grid."""
    settings = study.optimizers
    n = settings.tokens

    @functools.partial(jax.jit, static_argnums=0)
    def trained(name, task, rate):
        descent = am.Descent(RULES[name], settings.steps, learning_rate=rate)
        start, once = am.LinearMemory.zeros(task), settings.steps
        run = am.simulate(task, start, descent, observe=[am.loss], every=once, throw=False)
        return run.observed["loss"][-1], am.margins(task, run.model) > 0

    found = []
    for family in TWO:
        task = _task(embeddings[family][:n], jax.random.key(study.seed + 3), words.counts[:n])
        for name in OPTIMIZERS:
            rates = getattr(settings, name).points()
            loss, right = zip(*(trained(name, task, rate) for rate in jnp.asarray(rates, task.dtype)))
            best = int(np.nanargmin(loss))
            found.append((loss[best], rates[best], best in (0, len(rates) - 1), right[best]))
    names = ("trained_loss", "chosen", "edge_of_grid", "right")
    shape = (2, len(OPTIMIZERS))
    return {
        name: np.stack(values).reshape(*shape, *np.shape(values[0]))
        for name, values in zip(names, zip(*found))
    }


def _edge(study: RealWords, words: Any, embeddings: dict[str, Any]) -> dict[str, Any]:
    """Sharpness and loss along descent."""
    settings = study.edge
    looks = np.unique(np.round(np.geomspace(1, settings.steps, settings.looks)).astype(int))

    @jax.jit
    def descended(task, rate):
        descent = am.Descent(optax.sgd, settings.steps, learning_rate=rate)
        watch = [am.loss, am.sharpness]
        return am.simulate(task, am.LinearMemory.zeros(task), descent, observe=watch, at=looks).observed

    found = []
    for family in TWO:
        rows = embeddings[family][: settings.tokens]
        task = _task(rows, jax.random.key(study.seed + 4), words.counts[: settings.tokens])
        found += [descended(task, jnp.asarray(rate, rows.dtype)) for rate in settings.learning_rates]
    shape = (2, len(settings.learning_rates), -1)
    return {
        "sharpness": np.stack([one["sharpness"] for one in found]).reshape(shape),
        "edge_loss": np.stack([one["loss"] for one in found]).reshape(shape),
        "looks": np.append(0, looks),
    }
