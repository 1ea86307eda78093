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
# # Real words in a memory
#
# Theory is cleanest for random embeddings. Here are the embeddings of a language model (all-MiniLM-L6-v2, 384
# dimensions) for frequent English words, with their frequencies in Shakespeare's plays. How much less do they hold,
# and why do they train differently? `assocmem run real_words` has all of it as one figure.

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

words = am.memory.real_words()  # or a table of yours: help(am.memory.real_words)
real = am.embeddings.normalised(words.vectors.astype(float))
print(len(words.names), "words of", words.vectors.shape[1], "numbers:", *words.names[:12], "…")

# %% [markdown]
# ## Which words are near one another?
#
# Inflections are. Random vectors of this width never are.

# %%
gram = np.triu(np.asarray(am.embeddings.gram(real)), 1)
for flat in np.argsort(-gram, axis=None)[:6]:
    a, b = np.unravel_index(flat, gram.shape)
    print(f"{words.names[a]:>8} {words.names[b]:<8} cosine {gram[a, b]:.3f}")

# %% [markdown]
# ## What a written memory makes of them
#
# $W = \sum_x u_x e_x^\top$ with random outputs recalls every word of random embeddings. The Gram matrix alone
# says how many of the real ones: a near competitor needs little noise to win. Centring helps a little,
# whitening makes them as good as random.

# %%
n = 1000
variants = {
    "real": real[:n],
    "centred": am.embeddings.normalised(am.embeddings.centred(words.vectors.astype(float)))[:n],
    "whitened": am.embeddings.normalised(am.embeddings.whitened(words.vectors.astype(float)))[:n],
    "random": am.embeddings.sphere(jr.key(0), n, 384),
}
recall = {}
for name, rows in variants.items():
    task = am.AssociationTask(am.laws.uniform(n), jnp.arange(n), rows, am.embeddings.sphere(jr.key(1), n, 384))
    recall[name] = 1 - float(am.error(task, am.LinearMemory.outer_product(task)))
    predicted = am.theory.outer_product.gram_recall(am.embeddings.gram(rows), 384).mean()
    print(f"{name:>8}: recall {recall[name]:.3f}, predicted from the Gram matrix {predicted:.3f}")
assert recall["real"] < recall["whitened"] <= recall["random"]

# %% [markdown]
# ## Two near words spike
#
# "dog" is three times as frequent as "dogs", and their cosine is .87: at a large learning rate the first step
# makes the memory worse (GD section 4.2). Beside "dog", a word of another kind does no harm. One formula of $\alpha$ and
# $p_1$ knows the loss after the first step.


# %%
def pair(first, second):
    at = [words.names.index(first), words.names.index(second)]
    return am.AssociationTask.from_pairs(
        [(first, first), (second, second)], words.counts[at], embeddings=real[np.array(at)]
    )  # fmt: skip


figure, ax = plt.subplots(figsize=(4, 2.6))
for second in ("dogs", "tree"):
    task = pair("dog", second)
    run = am.simulate(task, am.LinearMemory.zeros(task), am.Descent(optax.sgd(10.0), 30), observe=[am.loss])
    p1, alpha = task.probabilities[0], task.inputs[0] @ task.inputs[1]
    exact = am.theory.two_particles.first_step_loss(10.0, p1, alpha, 2.0)
    print(f"dog, {second}: α = {alpha:.3f}, p₁ = {p1:.3f}, L₁ = {run['loss'][1]:.4f}, in closed form {exact:.4f}")
    ax.semilogy(run.to_xarray().step, run["loss"], label=f"dog, {second}")
ax.set(xlabel="step", ylabel="loss (nats)")
ax.legend()

# %% [markdown]
# ## Many words, and how fast one may go
#
# 128 frequent words, all trained at once at three learning rates: with real embeddings the largest one spikes
# before it is fast, with random ones it does not.

# %%
few = 128
law = jnp.asarray(words.counts[:few] / words.counts[:few].sum())
highest = {}
for name, rows in (("real", real[:few]), ("random", am.embeddings.sphere(jr.key(2), few, 384))):
    task = am.AssociationTask(law, jnp.arange(few), rows, am.embeddings.sphere(jr.key(3), few, 384))
    loss = jax.vmap(
        lambda rate: am.simulate(task, am.LinearMemory.zeros(task), am.Descent(optax.sgd, 60, learning_rate=rate), observe=[am.loss])["loss"]
    )(jnp.array([30.0, 300.0, 1000.0]))  # fmt: skip
    highest[name] = loss[-1].max()
    print(f"{name:>6}: loss starts at {loss[0, 0]:.2f}; highest", *(f"{row.max():.2f}" for row in loss), "; last", *(f"{row[-1]:.4f}" for row in loss))
assert highest["real"] > np.log(few) + 0.1 > highest["random"]
