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
# # Attention that learns through noise
#
# One token of a sequence bears a trigger, and its answer is asked: $x_t = e_{z_t} + 1\{t = t^*\}\,\tau$, $y = f^*(z_{t^*})$. All
# other tokens are noise. Embeddings are random, of width $d$: nothing is orthogonal. Three gradient steps (values, the key,
# values again) are enough to find the trigger, if $d$ is large enough. How large? (Slides p. 18, 29–30.)

# %%
# %matplotlib inline
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np

import assocmem_jax as am

theory = am.theory.noise
N, T, n = 128, 64, 512  # tokens, length, sequences in a batch
task = am.TriggerTask.gaussian(N, 256, jr.key(0), length=T, draws=1)
made = am.noise.three_steps(task, jr.key(1), n)
print("the trigger's score:", float(made.key @ task.trigger * N * T**2), "/ (N T²)")
print("attention right:", float(am.noise.attention_right(task, made.model)))
print("answer right:   ", float(am.noise.accuracy(task, made.model)))

# %% [markdown]
# Both shares are exact: sums over all sequences, given what was learned. Narrower embeddings are the same ones cut short
# (`task.narrowed(d)`), so that $d$ is data and one program serves all widths.


# %%
def right(key, d, **how):
    one, other = jr.split(key)
    task = am.TriggerTask.gaussian(N, 256, one, length=T, draws=1).narrowed(d)
    return am.noise.attention_right(task, am.noise.three_steps(task, other, n, **how).model)


widths, keys = np.geomspace(4, 256, 10).astype(int), jr.split(jr.key(2), 16)
kinds = {"same batch": {}, "fresh batches": {"fresh": True}, "centred": {"centred": True}}
found = {}
for name, how in kinds.items():
    over = jax.jit(lambda d, how=how: jax.lax.map(lambda key: right(key, d, **how), keys).mean())
    found[name] = np.array([over(d) for d in widths])

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
fine = jnp.geomspace(4, 256, 100)
for k, (name, share) in enumerate(found.items()):
    ax.plot(widths, share, am.plot.MARKERS[k], color=am.plot.COLOURS[k], label=name)
    law = theory.attention_right(N, T, fine, n, name == "fresh batches", name == "centred")
    ax.plot(fine, law, color=am.plot.COLOURS[k])
    gap = np.abs(share - theory.attention_right(N, T, widths, n, name == "fresh batches", name == "centred")).max()
    print(f"{name}: largest distance from the closed form {gap:.3f}")
    assert gap < 0.2
ax.set(xscale="log", xlabel="dimension d", ylabel="P(attention right)")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## What the noise is
#
# Lines are `am.theory.noise.attention_right`, derived: the trigger's score has a mean, every other token's a variance, of seven
# terms. One of them is most of it. Answers are not equally frequent in a batch, so that $q$, the mean of $u_y - \bar u$ over it, is
# not 0 but of size $1/\sqrt n$; the first step writes $q\,\bar e^\top$ into the values, the second reads it, by the same $q$.

# %%
terms = theory.spread(N, T, 48, n)
for name, term in sorted(zip(terms._fields, terms), key=lambda pair: -pair[1]):
    print(f"{name:12} {float(term / terms.total):6.1%}")
assert terms.frequencies == max(terms)

# %% [markdown]
# So it has a cure: subtract the mean over the batch, and not over all answers. That is the gradient of a model that has learned
# how frequent answers are (a bias does, before anything else). Then $q = 0$.

# %%
search = dict(smallest=2, largest=256, seeds=16, trials=np.inf, resolution=0.05)
needed = {}
for name, how in kinds.items():
    needed[name] = am.threshold(lambda key, d, how=how: right(key, d, **how), **search)
    derived = float(theory.attention_dimension(N, T, n, name == "fresh batches", name == "centred"))
    print(f"{name}: {needed[name]}; derived {derived:.1f}")
assert needed["centred"].value < needed["fresh batches"].value < needed["same batch"].value

# %% [markdown]
# ## The claimed law
#
# $d \propto (T^2/N)\min\{1, (N^2/(Tn))^{2/3}\}$: that is the term of frequencies alone. It is what counts where $T^2 \gg N$; at
# $T = 32$ it is not, and fresh batches have another law. `assocmem check noise` has the proofs.

# %%
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
many = jnp.geomspace(1024, 1e6, 60)
for k, length in enumerate((32, 256, 2048)):
    ratio = theory.attention_dimension(256, length, many) / theory.claimed_dimension(256, length, many)
    am.plot.line(ax, many, ratio, colour=k, label=f"T = {length}")
ax.set(xscale="log", yscale="log", xlabel="sequences n", ylabel="derived d over the claimed law, N = 256")
ax.legend(frameon=False)
plt.show()
