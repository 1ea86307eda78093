# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How much fits in a memory
#
# Four systems of Bietti's slides (p. 5–9, 31–34): an energy whose minima are patterns, attention as a step down an
# energy, a matrix that is written or trained, and what a memory that is too small does with a Zipf law.

# %%
# %matplotlib inline
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import optax

jax.config.update("jax_enable_x64", True)
import assocmem_jax as am

# %% [markdown]
# ## Energies
#
# A Hopfield network descends $E(x) = -\tfrac12 x^\top W x$, one bit at a time. With few patterns it ends in the one
# it was started near; with too many it descends as happily, to somewhere else.

# %%
ends = {}
for load in (0.05, 0.3):
    patterns = am.RetrievalTask.binary(jr.key(0), n=int(load * 200), d=200, flips=0.1)
    network = am.HopfieldNetwork.hebb(patterns, steps=8, asynchronous=True)
    path = network.path(patterns.cues)  # (steps + 1, N, d)
    energy = jax.vmap(jax.vmap(network.energy))(path)
    assert jnp.diff(energy, axis=0).max() < 1e-9  # it never rises
    ends[load] = float(am.retrieval.overlaps(patterns, network).mean())
    print(f"N = {load:g} d: energy {energy[0].mean():.1f} → {energy[-1].mean():.1f}, overlap {ends[load]:.3f}")
assert ends[0.05] > 0.99 > 0.8 > ends[0.3]

# %% [markdown]
# A bit of a stored pattern is wrong after one update with probability $\tfrac12\,\mathrm{erfc}(1/\sqrt{2N/d})$ for
# large $d$, and exactly, for any $N$ and $d$, as a sum of $(N-1)(d-1)$ fair signs:

# %%
task = am.RetrievalTask.binary(jr.key(1), n=60, d=300)
wrong = am.HopfieldNetwork.hebb(task).update(task.patterns) != task.patterns
limit, exact = am.theory.hopfield.bit_error(0.2), am.theory.hopfield.stored_bit_error(60, 300)
print(f"wrong bits {wrong.mean():.4f}, ½erfc {limit:.4f}, exact {exact:.4f}")

# %% [markdown]
# Steeper energies hold more. `DenseMemory` compares two energies for each bit; degree 2 *is* the Hopfield network.
# And the logarithm of the exponential energy, with ½‖x‖², is the energy of attention: a gradient step of length one
# is a softmax.

# %%
points = am.RetrievalTask.spherical(jr.key(2), n=200, d=32, noise=0.05)
memory = am.AttentionMemory.store(points, beta=16.0)
step = points.cues - jax.vmap(jax.grad(memory.energy))(points.cues)
attention = jax.nn.softmax(16 * points.cues @ points.patterns.T) @ points.patterns
print("attention against an energy step:", float(jnp.abs(step - attention).max()))
assert jnp.abs(step - attention).max() < 1e-13

# %% [markdown]
# ## How many associations: a search
#
# `am.capacity` finds the N at which recall falls through a target. N is data, not shape (`task.first(N)`), so the
# search over N, all seeds and even training are one compiled program. The interval has every N at which the
# target cannot be rejected.


# %%
def facts(d):
    """f = id: every token has an answer of its own."""

    def make(key, n):
        keys = jr.split(key)
        draw = am.embeddings.sphere
        return am.AssociationTask(am.laws.uniform(n), jnp.arange(n), draw(keys[0], n, d), draw(keys[1], n, d))

    return make


written = lambda task, key: am.LinearMemory.outer_product(task)
adam = am.Descent(optax.adam, 300, learning_rate=0.3)


def trained(task, key):
    start = am.LinearMemory.zeros(task)
    return am.simulate(task, start, adam, observe={}, every=300, throw=False).model


for name, build, d, largest in (("written", written, 48, 120), ("trained", trained, 12, 64)):
    found = am.capacity(facts(d), build, 0.95, largest=largest, seeds=20)
    print(f"{name}, d = {d}: {found};  N log N/d² = {found.size * np.log(found.size) / d**2:.2f}")

# %% [markdown]
# Slopes come with their intervals, and with a t for curvature: a line through points that bend is no power law.

# %%
dimensions = np.array([32, 48, 64, 96])
sizes = [am.capacity(facts(d), written, 0.95, largest=d * d // 16, seeds=20) for d in dimensions.tolist()]
half = [(c.interval[1] - c.interval[0]) / 3.92 for c in sizes]
fit = am.power_law(dimensions, [c.size for c in sizes], half)
print(f"N ∝ d^{fit}, curvature t = {fit.curvature:.1f}")
with am.plot.paper():
    figure, ax = plt.subplots(figsize=(3.25, 2.4), layout="constrained")
    spread = np.abs([[c.size - c.interval[0], c.interval[1] - c.size] for c in sizes]).T
    ax.errorbar(dimensions, [c.size for c in sizes], spread, fmt="o", markersize=3, label="W = Σ u eᵀ")
    am.plot.line(ax, dimensions, fit(dimensions), colour=1, label=f"slope {fit}")
    ax.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="N at recall .95")
    ax.legend()

# %% [markdown]
# ## Too small a memory
#
# Tokens are Zipf distributed and W has room for about $d$ of them (five answers). What should it hold? Everything
# alike ($q = 1$), in proportion to frequency ($q = p$: one gradient step), or only the most frequent?

# %%
n, m = 300, 5
p = am.laws.zipf(n, 2.0)


@jax.jit
def errors(key, cut):
    keys = jr.split(key)
    task = am.AssociationTask(
        p, jnp.arange(n) % m, am.embeddings.gaussian(keys[0], n, 100), am.embeddings.sphere(keys[1], m, 100)
    )
    schemes = (am.memory.schemes.equal(task), am.memory.schemes.frequency(task), am.memory.schemes.top(p, cut))
    return jnp.stack([am.error(task, am.LinearMemory.outer_product(task, q)) for q in schemes])


mean = jax.lax.map(lambda key: errors(key, 100 / 8), jr.split(jr.key(3), 40)).mean(axis=0)
print("error of q = 1, q = p, top d/8:", *(f"{v:.3f}" for v in mean))
assert mean[2] < mean[1] < mean[0]

# %% [markdown]
# An optimizer is a scheme too: `am.memory.scheme` reads $q(x)$ off a trained W. One population step leaves $q = \eta p$
# exactly; Adam with $\beta = 0$ flattens it.

# %%
task = am.AssociationTask(p[:50] / p[:50].sum(), jnp.arange(50) % m, am.embeddings.gaussian(jr.key(4), 50, 60), jnp.eye(m, 60))
runs = {
    "one step": am.Descent(optax.sgd, 1, learning_rate=1.0),
    "SGD": am.Descent(optax.sgd, 100, 64, learning_rate=1.0),
    "Adam, β = 0": am.Descent(lambda rate: optax.adam(rate, b1=0.0, b2=0.0), 100, 64, learning_rate=1 / 60),
}
for name, descent in runs.items():
    run = am.simulate(task, am.LinearMemory.zeros(task), descent, every=descent.steps, key=jr.key(5))
    q = am.memory.scheme(task, run.model)
    print(f"{name:>12}: q(10)/q(1) = {q[9] / q[0]:.3f}, p(10)/p(1) = {p[9] / p[0]:.3f}, error {run.observed['error'][-1]:.3f}")
    if name == "one step":
        assert jnp.allclose(q, task.probabilities, rtol=1e-9)

# %% [markdown]
# The studies behind these: `assocmem list`, then for instance `assocmem run slides_sizes_linear`.
# `docs/results.md` has their numbers beside the slides' claims.
