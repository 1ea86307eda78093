"""Planted faults of this part: see tests/faults.py."""

# name: (file, the right code, the fault, tests that must catch it)
FAULTS = {
    "hops: rolled the other way": (
        "systems/hops/task.py",
        "jnp.roll(half, -(2**level) % k, axis=1)",
        "jnp.roll(half, 2**level, axis=1)",
        "hops/test_hops.py -k walks",
    ),
    "hops: context before hidden": (
        "systems/hops/task.py",
        "jnp.take_along_axis(contexts, self.hidden[None], axis=2)",
        "jnp.take_along_axis(jnp.broadcast_to(self.hidden, contexts.shape), contexts, axis=2)",
        "hops/test_hops.py -k walks",
    ),
    "hops: one permutation for all steps": (
        "systems/hops/task.py",
        "jr.split(key, count * k))",
        "jnp.repeat(jr.split(key, count), k))",
        "hops/test_hops.py -k drawn",
    ),
    "hops: always k of them": (
        "systems/hops/task.py",
        "return Hops(_contexts(one, n, *self.hidden.shape), pick(other, n))",
        "return Hops(_contexts(one, n, *self.hidden.shape), 0 * pick(other, n) + len(self.weights) - 1)",
        "hops/test_hops.py -k drawn",
    ),
    "hops: a mean over levels, not by their law": (
        "systems/hops/task.py",
        "return jnp.dot(self.weights, jnp.mean(losses, axis=(0, 2, 3)))",
        "return jnp.mean(losses)",
        "hops/test_hops.py -k law",
    ),
    "hops: a batch read after the last layer": (
        "systems/hops/task.py",
        "held = jnp.take_along_axis(model.holdings(batch.contexts), place[..., None], axis=1)[:, 0]",
        "held = model.holdings(batch.contexts)[:, -1]",
        "hops/test_hops.py -k law",
    ),
    "hops: keys and queries exchanged": (
        "systems/hops/model.py",
        '"bti,ij,bsj->bts"',
        '"bsi,ij,btj->bts"',
        "hops/test_hops.py -k loop",
    ),
    "hops: k hops after layer log k": (
        "systems/hops/model.py",
        "chosen = [*found[: level_of(k)], found[-1]]",
        "chosen = found[: level_of(k) + 1]",
        "hops/test_hops.py -k loop",
    ),
    "hops: a step too short": (
        "systems/hops/model.py",
        "(np.arange(k) + 2**level) % k] = 1",
        "(np.arange(k) + 2 * level) % k] = 1",
        "hops/test_hops.py -k 'eight or reached'",
    ),
    "hops: the log of 0": (
        "systems/hops/model.py",
        "jnp.log(jnp.maximum(held, jnp.finfo(held.dtype).tiny))",
        "jnp.log(held)",
        "hops/test_hops.py -k float32",
    ),
    "hops: a wrong value read from one step": (
        "systems/hops/theory.py",
        "right, wrong, weight = (1 + (k - 1) * rest) / total, k * rest / total, 1 / total",
        "right, wrong, weight = 1 / total, rest / total, 1 / total",
        "hops/test_hops.py -k reached",
    ),
    "hops: a bound without the other steps": (
        "systems/hops/theory.py",
        "right_low = mix(step, low, jnp.minimum(wrong_low, low))",
        "right_low = low",
        "hops/test_hops.py -k reached",
    ),
    "hops: a bound a tenth too low": (
        "systems/hops/theory.py",
        "right_low = mix(step, low, jnp.minimum(wrong_low, low))",
        "right_low = 0.9 * mix(step, low, jnp.minimum(wrong_low, low))",
        "hops/test_hops.py -k reached",
    ),
    "hops: exact too early": (
        "systems/hops/theory.py",
        "held.lead_low for held in written",
        "held.right_high - held.wrong_low for held in written",
        "hops/test_hops.py -k eight",
    ),
    "hops: where the right value is not": (
        "systems/hops/observe.py",
        "(2 ** (level - 1) if level else 0)",
        "(2**level if level else 0)",
        "hops/test_hops.py -k eight",
    ),
    "row: hops: weights of layer 2": (
        "systems/hops/observe.py",
        "(2 ** (level - 1) if level else 0)",
        "0",
        "engine/test_statements.py -k test_row[hops.first]",
    ),
    "hops: leads without those of other steps": (
        "systems/hops/theory.py",
        "return mix(step, inside, -jnp.maximum(right, one) * G - rest * s) - stray_least * uneven",
        "return inside - stray_least * uneven",
        "hops/test_hops.py -k leads_of_all",
    ),
    "hops: others that lead as the right one": (
        "systems/hops/theory.py",
        "inside = right * D - one * G - jnp.maximum(rest - one, 0) * s",
        "inside = right * D",
        "engine/test_statements.py -k test_row[hops.construction]",
    ),
    "hops: rows taken to be even": (
        "systems/hops/theory.py",
        "uneven + jnp.maximum(total, 0) * (2 * G + (n - 2) * s),",
        "uneven,",
        "engine/test_statements.py -k test_row[hops.construction]",
    ),
    "hops: a chord from the wrong end": (
        "systems/hops/theory.py",
        "mix(jnp.clip(share, 0, 1), gap(q, R), gap(q, r))",
        "mix(jnp.clip(share, 0, 1), gap(q, r), gap(q, R))",
        "engine/test_statements.py -k test_row[hops.construction]",
    ),
    "hops: a least weight of one wrong value, not of all": (
        "systems/hops/theory.py",
        "stray_least = 1 / (1 + gap(r, Q) + (n - 2) * gap(r, R))",
        "stray_least = 1 / (1 + gap(r, Q))",
        "hops/test_hops.py -k leads_of_all",
    ),
    "hops: a search that climbs down": (
        "systems/hops/studies/search.py",
        "better = found < margin",
        "better = found > margin",
        "hops/test_hops.py -k search",
    ),
    "hops: half an exchange": (
        "systems/hops/studies/search.py",
        ".at[own, i, y].set(now[own, i, x])",
        "",
        "hops/test_hops.py -k search",
    ),
    "hops: halving towards what is wrong": (
        "systems/hops/studies/search.py",
        "right = jnp.all(least(task, middle, contexts) > 0)",
        "right = jnp.any(least(task, middle, contexts) > 0)",
        "hops/test_hops.py -k search",
    ),
}
