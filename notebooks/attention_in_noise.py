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
# (`task.narrowed(d)`), so that $d$ is data, and a search for the $d$ at which attention is right half of the time is one program.


# %%
def right(key, d, **how):
    one, other = jr.split(key)
    task = am.TriggerTask.gaussian(N, 256, one, length=T, draws=1).narrowed(d)
    return am.noise.attention_right(task, am.noise.three_steps(task, other, n, **how).model)


kinds = {"same batch": {}, "fresh batches": {"fresh": True}, "centred": {"centred": True}}
search = dict(smallest=2, largest=256, seeds=16, trials=np.inf, resolution=0.05)
found = {
    name: am.threshold(lambda key, d, how=how: right(key, d, **how), **search) for name, how in kinds.items()
}

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
fine = jnp.geomspace(2, 256, 100)
for k, (name, seen) in enumerate(found.items()):
    how = (name == "fresh batches", name == "centred")
    ax.plot(seen.values, seen.measured.mean(axis=1), am.plot.MARKERS[k], color=am.plot.COLOURS[k], label=name)
    ax.plot(fine, theory.attention_right(N, T, fine, n, *how), color=am.plot.COLOURS[k])
    derived = float(theory.attention_dimension(N, T, n, *how))
    print(f"{name}: {seen}; derived {derived:.1f}")
    assert 0.6 < seen.value / derived < 1.6
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
# So it has a cure, the third curve: subtract the mean over the batch, and not over all answers. That is the gradient of a model
# that has learned how frequent answers are (a bias does, before anything else). Then $q = 0$.

# %%
for length in (64, 256):
    needed = [float(theory.attention_dimension(256, length, 1024, False, centred)) for centred in (False, True)]
    print(f"N = 256, T = {length}, n = 1,024: d = {needed[0]:.1f}, centred {needed[1]:.1f}")
assert found["centred"].value < found["same batch"].value

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
