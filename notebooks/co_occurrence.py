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
# # Word co-occurrence: two phases of a one-layer transformer
#
# A sequence is labelled $+1$ if two signal words occur in it together, $-1$ otherwise (Cooc, Yang et al. 2024). A
# common word $\mu_3$ is always there. The model is one layer of attention and a linear MLP,
# $F(X) = \sum_l a^\top W W_V X\,\mathrm{softmax}(X^\top W_K^\top W_Q x_l/\sqrt m)$, and all four matrices are trained.
#
# Its gradient flow closes in scalar products. The smallest closed system has no neurons in it, and, what the paper
# does not say, plain gradient descent closes in it too: we train it instead of the weights.

# %%
# %matplotlib inline
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

jax.config.update("jax_enable_x64", True)
import assocmem_jax as am

# 24 training sequences of four words, every irrelevant word once (Assumption 2.3(ii)): d ≥ 43.
task = am.CooccurrenceTask.training(jax.random.key(0), counts=(12, 4, 4, 4), length=4, dimension=43, distinct=True)
print(task.tokens[:3], task.labels[:3], task.kinds)
transformer = am.CooccurrenceTransformer.gaussian(task, jax.random.key(1), width=96, neurons=64)
system = am.cooccurrence.CooccurrenceSystem.from_transformer(transformer)

# %% [markdown]
# ## The system is the transformer
#
# A hundred steps of descent on the four matrices, and on the scalar products: the same outputs, to rounding.

# %%
short = am.Descent(optax.sgd, 100, learning_rate=8e-3)
weights = am.simulate(task, transformer, short, observe=dict(margins=am.margins))
products = am.simulate(task, system, short, observe=dict(margins=am.margins))
apart = float(jnp.abs(weights.observed["margins"] - products.observed["margins"]).max())
print("largest difference of an output:", apart)
assert apart < 1e-12

# %% [markdown]
# ## Two phases
#
# First the MLP learns to read the signals, while attention stays where it was: all samples are right at the end of
# Phase 1. Then both widen the margin. The loss of sequences with one signal first *rises*: the MLP has learned that
# a signal speaks for $+1$ before it has learned that the common word speaks against.

# %%
watch = dict(
    loss=am.loss,
    error=am.error,
    kinds=am.cooccurrence.kind_losses,
    value=am.cooccurrence.token_values,
    scores=am.cooccurrence.attention_scores,
    balance=am.cooccurrence.balance,
)
descent = am.Descent(optax.sgd, 3000, learning_rate=8e-3)
run = am.simulate(task, system, descent, observe=watch, every=5, until=am.perfect_accuracy(hold=None))
first = int(run.first_step)
print("Phase 1 ends at step", first)
moved = run.observed["scores"] - run.observed["scores"][0]
at_end = float(jnp.abs(moved[first // 5]).max() / jnp.abs(run.observed["scores"][0]).max())
print(f"by then scores have moved by {at_end:.2%} of the largest")
assert at_end < 0.05

# %%
with am.plot.paper():
    figure, axes = plt.subplots(1, 3, figsize=(6.75, 2.3), layout="constrained")
    steps = np.asarray(run.steps)[1:]
    for k, name in enumerate(("both", "only μ₁", "only μ₂", "neither")):
        am.plot.line(axes[0], steps, run.observed["kinds"][1:, k], colour=k, label=name)
    for k, (name, i, j) in enumerate((("K₁Q₂", 0, 1), ("K₂Q₁", 1, 0), ("K₃Q₁", 2, 0), ("K₃Q₂", 2, 1))):
        am.plot.line(axes[1], steps, moved[1:, i, j], colour=k, label=name)
    for k in range(3):
        am.plot.line(axes[2], steps, run.observed["value"][1:, k], colour=k, label=f"G(μ{'₁₂₃'[k]})")
    for ax, label in zip(axes, ("loss (nats)", "change of score", "value of a word")):
        ax.axvline(first, color="black", linewidth=0.6, linestyle=":")
        ax.set(xlabel="step", ylabel=label, xscale="log")
        ax.legend()
    axes[0].set_yscale("log")
one = run.observed["kinds"][:, 1]
print(f"one-signal loss: {one[0]:.3f} → {one.max():.3f} → {one[-1]:.3f}")
assert one.max() > one[0] > one[-1]

# %% [markdown]
# ## Balance
#
# The gradients of the two one-signal kinds stay in balance by themselves (Lemma 4.4).

# %%
balance = run.observed["balance"][first // 5 :, 0]
print(f"Σg(I₂)/Σg(I₃) after Phase 1: {balance.min():.3f} to {balance.max():.3f}")
assert 0.8 < balance.min() and balance.max() < 1.25

# %% [markdown]
# The theorems of the paper are statements here: `assocmem check cooc`. The paper's own sizes take seconds:
# `assocmem run cooc_fig1`.
