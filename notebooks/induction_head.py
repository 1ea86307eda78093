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
# # An induction head forms
#
# Text is drawn from a Markov chain of Shakespeare's characters, but in every sequence a few *triggers* are followed
# by *outputs* of that sequence's own (Birth, Bietti et al. 2023). Who has seen the trigger once can predict what
# follows it: by looking at what stood behind the trigger before. Two attention layers can do that, one cannot.

# %%
# %matplotlib inline
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import assocmem_jax as am

task = am.BigramTask.shakespeare(length=48, triggers=4, data=96, key=jax.random.key(1))
first = jax.tree.map(lambda a: a[0], task.data)
print("sequence:", repr(task.decode(first.tokens)))
print("triggers:", [task.decode(first.triggers[k : k + 1]) for k in range(4)])
print("outputs: ", [task.decode(first.outputs[k : k + 1]) for k in range(4)])

# %% [markdown]
# The model has three trained matrices, each an associative memory. $W_O^2$ should map a remapped token to its output,
# $W_K^2$ a trigger to what layer 1 wrote after it, and $W_K^1$ a position to the one before it. We train on fresh
# sequences, drawn on the device, and watch the share of associations each of them recalls.

# %%
model = am.InductionTransformer.published(task, jax.random.key(0), width=128)
watch = dict(
    accuracy=am.induction.in_context_accuracy,
    output2=am.induction.recall_output2,
    key2=am.induction.recall_key2,
    key1=am.induction.recall_key1,
    key1_early=am.induction.recall_key1_early,
)


def momentum(rate):
    return optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(rate, momentum=0.9))


descent = am.Descent(momentum, steps=300, batch_size=96, learning_rate=0.2)
run = am.simulate(task, model, descent, observe=watch, every=10, key=jax.random.key(2))
trained = run.model
print(run)

# %%
with am.plot.paper():
    figure, ax = plt.subplots(figsize=(4.5, 2.4), layout="constrained")
    names = ("in-context accuracy", "R of $W_O^2$", "R of $W_K^2$", "R of $W_K^1$", "R of $W_K^1$, early t")
    for k, (name, label) in enumerate(zip(watch, names)):
        am.plot.line(ax, run.steps, run.observed[name], colour=k, label=label)
    ax.set(xlabel="step", ylabel="share", ylim=(0, 1.02))
    ax.legend(fontsize=6)
    plt.show()

# %% [markdown]
# Outputs are learned first, from attention that is still uniform; keys follow, and early positions before late ones.
# The head is now visible in the attention of a single sequence: layer 1 looks at the token before, layer 2 at what
# followed the same letter earlier.

# %%
maps = np.asarray(am.induction.attention_maps(task, trained))
letters = [{"\n": "↵", " ": "␣"}.get(c, c) for c in task.decode(first.tokens)]
with am.plot.paper():
    figure, axes = plt.subplots(1, 2, figsize=(6.5, 3.1), layout="constrained")
    for ax, weights, title in zip(axes, maps, ("layer 1", "layer 2")):
        am.plot.mesh(ax, range(48), range(48), weights, "attention", cmap="Blues", vmin=0, vmax=1)
        ax.set_xticks(range(48), letters, fontsize=4)
        ax.set_yticks(range(48), letters, fontsize=4)
        ax.invert_yaxis()
        ax.set(title=title, xlabel="key", ylabel="query")
    plt.show()

# %% [markdown]
# What the model says, letter by letter: predictions are shown where the answer stands in the context.

# %%
answers = np.asarray(trained.scores(task)).argmax(-1)
for row in range(3):
    tokens, targets = task.data.tokens[row], task.data.targets[row]
    again = np.asarray(task.data.in_context[row])
    mark = "".join("✓" if a else "✗" for a in (answers[row] == np.asarray(targets))[again])
    text = task.decode(tokens).replace("\n", "↵")
    print(f"{text!r}\n   triggers seen before: {int(again.sum())}, answers {mark}")

# %% [markdown]
# And a sequence of its own: after a prompt with one trigger–output pair ("q" → "X"), the trained model is asked what
# comes after each further "q".

# %%
prompt = task.encode("The qXueen said q")
probabilities = jax.nn.softmax(trained.logits(trained.residual(prompt[None]))[0, -1])
best = np.argsort(-np.asarray(probabilities))[:4]
print({task.decode(best[k : k + 1]): round(float(probabilities[best[k]]), 3) for k in range(4)})
last = {name: float(values[-1]) for name, values in run.observed.items()}
assert last["accuracy"] > 0.9, last
assert last["output2"] == 1.0, last
assert last["key1_early"] > 0.9, last
