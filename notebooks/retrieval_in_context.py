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
# # Retrieval in context
#
# An attention layer sees $L$ points of a law that is new in every sequence, and one more in noise, $\tilde x = x + \sigma_z z$.
# It is to say $x$. Its one step is that of an associative memory that stores the context (Slides p. 5; Smart, Bietti,
# Sengupta 2025). When is it the Bayes answer?

# %%
# %matplotlib inline
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import assocmem_jax as am

theory = am.theory.denoising
n, rank, variance, noise = 16, 8, 2.0, 1.0
linear = am.denoising.LinearManifold(n, rank, variance)
sphere = am.denoising.Sphere(n, rank, 4.0)
bayes = float(theory.linear_bayes(rank, variance, noise)), float(theory.sphere_bayes(rank, 4.0, noise))
print(f"Bayes: {bayes[0]:.3f} on the linear manifold, {bayes[1]:.3f} on the sphere")

# %% [markdown]
# One step down the energy of `am.AttentionMemory` is softmax attention: the same numbers.

# %%
task = am.DenoisingTask(sphere, 50, noise, draws=512)
X, query = task.data.contexts[0], task.data.queries[0]
memory = am.AttentionMemory(X, jnp.ones(50), 1 / noise)
step = am.denoising.SoftmaxAttention.scaled(n, 1 / noise).denoised(X[None], query[None])[0]
assert np.allclose(step, query - jax.grad(memory.energy)(query), atol=1e-4)

# %% [markdown]
# ## How long a context must be
#
# Linear attention on the linear manifold has a best scale at every $L$, $c^* = 1/((\sigma_0^2 + \sigma_z^2)(1 + (\delta + 1)/L))$,
# and an error in closed form, exact for all $L$. Softmax on the sphere is Bayes as $L \to \infty$, and late.

# %%
lengths = [16, 50, 160, 500]
errors = []
for L in lengths:
    one, other = (am.DenoisingTask(law, L, noise, draws=512) for law in (linear, sphere))
    c = theory.attention_scale(rank, variance, noise, L)
    errors.append(
        [
            float(one.loss(am.denoising.LinearAttention.scaled(n, c))),
            float(other.loss(am.denoising.SoftmaxAttention.scaled(n, 1 / noise))),
        ]
    )
errors = np.array(errors)

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
fine = np.geomspace(16, 500, 60)
ax.plot(fine, theory.attention_error(rank, variance, noise, fine) / bayes[0], color=am.plot.COLOURS[0])
for k, name in enumerate(("linear attention, linear manifold", "softmax, sphere")):
    ax.plot(lengths, errors[:, k] / bayes[k], am.plot.MARKERS[k], color=am.plot.COLOURS[k], label=name)
ax.axhline(1, color="grey", linewidth=0.5)
ax.set(xscale="log", xlabel="length L of the context", ylabel="error over Bayes")
ax.legend(frameon=False)
plt.show()
derived = np.asarray(theory.attention_error(rank, variance, noise, np.array(lengths)))
assert np.abs(errors[:, 0] / derived - 1).max() < 0.15
print("linear attention is within 10 % of Bayes from L =", float(theory.attention_length(rank, variance, noise, 0.1)))

# %% [markdown]
# ## More steps
#
# The energy goes on falling, towards a stored point or a mean of several: retrieval. That is not denoising.

# %%
for steps in (1, 2, 4):
    print(steps, float(task.loss(am.denoising.EnergySteps(0.5, steps))))
