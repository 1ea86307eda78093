"""What every door answers when it is called right: kept in tests/answers.json.

Run: python tests/answers.py [NAME …] to write it anew, where it is meant to be another. Systems of each wing
with weights that no symmetry makes alike: what is observed of them and drawn for them, steps of a
descent, a flow; and the calls of engine/malformed.py. Oracles stand in the wings; here nothing is derived.
"""

import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am
import small
from assocmem_jax.systems import wings
from surface import write

KEPT = Path(__file__).with_suffix(".json")
# Of the root mean square of what is compared: float64 in another order, a flow's tolerance of its own.
NEAR, FLOWN = 1e-9, 1e-6
KEY = jr.key(5)
_drawn = np.random.default_rng(0)


def r(*shape: int) -> np.ndarray:
    return _drawn.normal(size=shape)


LAW = np.array([0.5, 0.3, 0.2])
PAIRS, HINGE, SMOOTHED = (
    am.AssociationTask(LAW, [0, 1, 3], r(3, 2), r(4, 5), loss=loss)
    for loss in (am.losses.cross_entropy, am.losses.hinge, am.losses.LabelSmoothed(0.1))
)
SOFT = am.AssociationTask(LAW, [[0.5, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4], [0, 0, 0, 1]], r(3, 2), r(4, 5))
TWO, SQUARED = (
    am.AssociationTask(LAW, [0, 1, 1], r(3, 2), r(2, 5), loss=loss)
    for loss in (am.losses.cross_entropy, am.losses.squared)
)
CUES = am.RetrievalTask(r(3, 6), r(3, 6), LAW)
SIGNS = am.RetrievalTask.binary(KEY, 3, 7, flips=0.2)
CHAIN = r(4, 4) ** 2
TEXT = am.BigramTask(
    [*LAW, 0.0], CHAIN / CHAIN.sum(1, keepdims=True), length=8, triggers=1, data=5, key=KEY, noise=0.4,
    loss_on="all")  # fmt: skip
BARE = am.BigramTask(
    np.ones(4) / 4, CHAIN / CHAIN.sum(1, keepdims=True), length=7, triggers=2, data=3, key=KEY
)
COPIES = am.induction.NoisyCopyTask(5, 0.3)
WORDS = am.CooccurrenceTask.training(KEY, (3, 2, 1, 1), 5, 11)
CLOUD = am.CooccurrenceTransformer(r(3, 5), r(5, 11), r(5, 11), r(5, 11), [1.0, -1.0, 1.0])
SIX = am.CooccurrenceTransformer.gaussian(WORDS, KEY, width=4, neurons=3, sigma0=0.5, sigma1=0.5)
FACTS = am.FactualTask.balanced(4, 3, 2, KEY, noise=3, length=6)
MARKED = am.TriggerTask(r(3, 5), r(4, 6), r(5), targets=[0, 2, 3], length=6, draws=4, key=KEY)
HOPS = am.HopTask([[0, 1, 2], [2, 0, 1]], [0.3, 0.7], draws=4, key=KEY)
KINDS = {
    "linear": am.denoising.LinearManifold(5, 2, 0.7),
    "sphere": am.denoising.Sphere(5, 2, 1.3),
    "clusters": am.denoising.Clusters(5, 3, 1.2, 0.1),
}
NOISY = {name: am.DenoisingTask(law, 6, 0.5, draws=4, key=KEY) for name, law in KINDS.items()}
HEADS: dict[str, Any] = {name: r(2, 3, 4) for name in ("query", "key", "value", "output")}
# wing, name: task, model
SYSTEMS: dict[str, tuple[Any, Any]] = {
    "memory, matrix": (PAIRS, am.LinearMemory(r(5, 2))),
    "memory, matrix, two classes": (TWO, am.LinearMemory(r(5, 2))),
    "memory, matrix, soft": (SOFT, am.LinearMemory(r(5, 2))),
    "memory, matrix, hinge": (HINGE, am.LinearMemory(r(5, 2))),
    "memory, matrix, squared": (SQUARED, am.LinearMemory(r(5, 2))),
    "memory, matrix, smoothed": (SMOOTHED, am.LinearMemory(r(5, 2))),
    "memory, particles": (PAIRS, am.ParticleSystem.from_memory(PAIRS, am.LinearMemory(r(5, 2)))),
    "memory, margins": (TWO, am.MarginSystem.from_margins(TWO, r(3))),
    "memory, normalized": (PAIRS, am.NormalizedMemory(r(5, 2), PAIRS)),
    "memory, embedded": (PAIRS, am.memory.EmbeddedMemory(r(5, 2), r(3, 2), r(4, 5))),
    "retrieval, hebb": (SIGNS, am.HopfieldNetwork.hebb(SIGNS, steps=1)),
    "retrieval, one after another": (SIGNS, am.HopfieldNetwork.hebb(SIGNS, steps=2, asynchronous=True)),
    "retrieval, cubic": (SIGNS, am.DenseMemory.polynomial(SIGNS, degree=3)),
    "retrieval, exponential": (SIGNS, am.DenseMemory.exponential(SIGNS)),
    "retrieval, attention": (CUES, am.AttentionMemory(r(3, 6), [1.0, 2.0, 0.5], 0.7, steps=2)),
    "induction, two layers": (TEXT, am.InductionTransformer.gaussian(TEXT, KEY, 6, trained=0.5)),
    "induction, published": (BARE, am.InductionTransformer.published(BARE, KEY, 6, feedforward=True)),
    "induction, trained": (BARE, am.Transformer.initial(4, 7, KEY, 6, layers=2, heads=2)),
    "induction, copies": (COPIES, am.induction.NoisyCopySystem.zeros(COPIES)),
    "cooccurrence, transformer": (WORDS, CLOUD),
    "cooccurrence, products": (WORDS, am.cooccurrence.CooccurrenceSystem.from_transformer(CLOUD)),
    "cooccurrence, six": (WORDS, am.cooccurrence.SixVariableSystem.from_transformer(SIX)),
    "cooccurrence, heads": (WORDS, am.cooccurrence.CooccurrenceHeads.gaussian(
        WORDS, KEY, heads=2, width=4, neurons=3, sigma0=0.5, sigma1=0.5)),
    "cooccurrence, layers": (WORDS, am.cooccurrence.CooccurrenceLayers.gaussian(
        WORDS, KEY, width=4, neurons=3, sigma0=0.5, sigma1=0.5)),
    "factual, attention": (FACTS, am.LinearAttentionRecall(
        r(FACTS.num_tokens), r(FACTS.num_answers, FACTS.num_tokens))),
    "factual, transformer": (FACTS, am.FactualTransformer(
        r(FACTS.num_tokens, 4), r(FACTS.num_answers, 4), **HEADS)),
    "factual, reduced": (FACTS, am.factual.FactualSystem.constant(FACTS, 0.5)),
    "noise, attention": (MARKED, am.TriggerAttention(r(5), r(6, 5), 0.7)),
    "noise, saturated": (MARKED, am.TriggerAttention(r(5), r(6, 5), 0.7, saturated=True)),
    "hops, attention": (HOPS, am.HopTransformer.gaussian(HOPS, KEY, layers=2, scale=0.5)),
    **{f"denoising, {name}": (task, am.denoising.LinearAttention(r(5, 5), r(5, 5)))
       for name, task in NOISY.items()},
    "denoising, softmax": (NOISY["sphere"], am.denoising.SoftmaxAttention(r(5, 5), r(5, 5))),
    "denoising, energy": (NOISY["clusters"], am.denoising.EnergySteps(0.8, steps=2)),
}  # fmt: skip

# Compiled for minutes.
NO_FLOW = ("induction, trained",)


def observables() -> dict[str, Callable]:
    """Public functions of (task, model) and nothing else that must be given."""
    found = {}
    for room in (am, *(getattr(am, wing) for wing in wings())):
        for name in sorted(dir(room)):
            function = getattr(room, name)
            if not name.startswith("_") and callable(function) and not inspect.isclass(function):
                try:
                    words = inspect.signature(function).parameters.values()
                except (TypeError, ValueError):
                    continue
                asked = [word.name for word in words if word.default is word.empty]
                if asked == ["task", "model"]:
                    found.setdefault(name, function)
    return found


def weighed(answer: Any) -> list:
    """[shape, and as in small.py] of each array and number of what was answered."""
    parts = [*answer.variables.values()] if isinstance(answer, xr.Dataset) else jax.tree.leaves(answer)
    found = []
    part: Any
    for part in parts:
        if eqx.is_array(part) and jnp.issubdtype(part.dtype, jax.dtypes.prng_key):
            part = jr.key_data(part)
        if not isinstance(part, jax.Array | np.ndarray | np.generic | xr.Variable | bool | int | float):
            continue
        held = np.asarray(part)
        if held.dtype.kind not in "biuf":
            continue
        found.append([list(held.shape), *small.weighed(held, 12)])
    return found


def of_system(name: str) -> dict[str, list]:
    """What is observed and drawn of a system, and where it goes."""
    task, model = SYSTEMS[name]
    found = {}
    for word, look in observables().items():
        try:
            found[word] = weighed(look(task, model))
        except ValueError:  # not of this system
            continue
    descent = am.Descent(optax.sgd(0.1), 3)
    moved = am.simulate(task, model, descent, observe=[am.loss], throw=False)
    found["descent"] = weighed((moved.model, moved.status, moved["loss"]))
    try:
        batch = task.sampler(3)(KEY)
        found["batch"] = weighed(batch)
        found["sampled loss"] = weighed(task.sampled_loss(model, batch))
        few = am.Descent(optax.sgd(0.1), 2, 3)
        found["drawn descent"] = weighed(
            am.simulate(task, model, few, observe={}, key=KEY, throw=False).model
        )
    except (AttributeError, ValueError):  # a population alone
        pass
    if name in NO_FLOW:
        return found
    flow = am.GradientFlow(0.5, rtol=1e-9)
    try:
        flown = am.simulate(task, model, flow, observe=[am.loss], at=[0.1], throw=False)
        found["flow"] = weighed((flown.model, flown.status, flown["loss"]))
    except ValueError:  # no flow is
        pass
    return found


def of_calls() -> dict[str, list]:
    """What the right calls of engine/malformed.py give."""
    place = Path(__file__).parent / "engine" / "malformed.py"
    spec: Any = importlib.util.spec_from_file_location("malformed", place)
    calls = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(calls)
    am.save(f"{calls.PLACE}/a", {"a": np.ones(2)})
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)  # as users are, who pass lists
    try:
        return {
            name: weighed(function(**arguments))
            for name, (function, arguments) in calls.CALLS.items()
            if name not in ("open_store", "check", "save", "load")
        }
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def apart(found: dict, kept: dict) -> list[str]:
    """Where two records differ."""
    faults = [f"{name}: {'new' if name in found else 'gone'}" for name in found.keys() ^ kept.keys()]
    for name in found.keys() & kept.keys():
        near = FLOWN if "flow" in name.lower() else NEAR
        here, there = found[name], kept[name]
        same = [one[:2] for one in here] == [other[:2] for other in there]
        if not same or any(
            abs(a - b) > near * other[3]
            for one, other in zip(here, there)
            for a, b in zip(one[2:], other[2:], strict=True)
        ):
            faults.append(f"{name}: {here}, kept {there}")
    return faults


def answers(name: str) -> dict[str, list]:
    return of_calls() if name == "calls" else of_system(name)


NAMES = ("calls", *SYSTEMS)


def main() -> int:
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    for name in sys.argv[1:] or NAMES:
        found = answers(name)
        said = "; ".join(apart(found, kept[name])) or "as it was" if name in kept else "new"
        print(f"{name}: {said}, {len(found)} answers", flush=True)
        kept[name] = found
        write(KEPT, {name: kept[name] for name in NAMES if name in kept})
    return 0


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    sys.exit(main())
