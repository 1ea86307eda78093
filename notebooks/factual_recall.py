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
# # A model that hallucinates, why, for how long, and how to make it not
#
# A fact is an answer $a^*(s, r)$ to a subject and a relation ("France", "capital" → "Paris"), asked somewhere in a text
# of noise. Each relation has its own block of $D$ answers. One linear attention on one-hot tokens learns them all:
# $\text{logit}_a = \sum_t v_{z_t} A_{a, z_t}$ (Slides p. 20).

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

theory = am.theory.factual
S, R, D, start = 16, 4, 8, 1e-3
task = am.FactualTask.balanced(S, R, D, jr.key(0), noise=20, length=16, draws=1)
print("a text:", np.asarray(task.sample(jr.key(1), 1).tokens[0]), "(the last token asks)")

# %% [markdown]
# ## It hallucinates
#
# SGD on fresh texts. First the loss falls by $\log R$: the model knows which answers the *relation* has. Then it stays,
# at $\log D$. Asked for the capital of France it names a capital, any capital, and does so for most of the run.

# %%
model = am.LinearAttentionRecall.constant(task, start)
watch = dict(
    loss=am.loss,
    relation=am.factual.relation_loss,
    subject=am.factual.subject_loss,
    right=am.factual.probability_right,
)
sgd = am.Descent(optax.sgd, 1200, 256, learning_rate=0.3)
run = am.simulate(task, model, sgd, observe=watch, every=20, key=jr.key(2))
middle = int(np.argmin(np.abs(run["loss"] - np.log(D))))
print(f"loss {run['loss'][0]:.3f} = log RD, then {run['loss'][middle]:.3f} (log D = {np.log(D):.3f})")
print(f"there the right answer has probability {run['right'][middle]:.3f}: 1/D = {1 / D:.3f}")
assert abs(run["right"][middle] - 1 / D) < 0.03 and run["relation"][middle] < 0.05

# %% [markdown]
# ## Why: two halves, each its own equation
#
# From equal entries, with balanced facts, everything is in four numbers: $(v_s, x)$ of subjects and $(v_r, y)$ of
# relations, which do not know of one another. `am.factual.FactualSystem` is that system, through the same door;
# its descent lies on top of SGD's.

# %%
system = am.factual.FactualSystem.constant(task, start)
full_batch = am.Descent(optax.sgd, 1200, learning_rate=0.3)
reduced = am.simulate(task, system, full_batch, observe=dict(loss=am.loss), every=20)
print("largest distance of SGD from four numbers:", float(np.abs(reduced["loss"] - run["loss"]).max()))
assert np.abs(reduced["loss"] - run["loss"]).max() < 0.03

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for colour, (name, label) in enumerate((("loss", "all"), ("relation", "relation"), ("subject", "subject"))):
    am.plot.line(ax, run.times, run[name], colour=colour, label=f"{label}, SGD")
ax.plot(reduced.times, reduced["loss"], "k:", label="four numbers")
ax.axhline(np.log(D), color="grey", linewidth=0.5)
ax.set(xlabel="time (learning rate × step)", ylabel="loss (nats)")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## For how long
#
# While margins are small, $\log v$ of subjects grows at rate $\sqrt{(1 - 1/D)/R}/S$, that of relations at
# $\sqrt{(1 - 1/R)/D}/R$. So relations come first, from small starts, iff $S^2(R - 1) > R^2(D - 1)$. The slides show one
# side of it; with few subjects and many relations the *subject* is known first, and the model gives the right
# subject's answer to another question.

# %%
for sizes in ((16, 4, 8), (8, 32, 8)):
    first = "relations" if theory.relation_first(*sizes) > 0 else "subjects"
    flat = theory.plateau(*sizes, start)
    print(
        f"(S, R, D) = {sizes}: {first} first; the loss stays at {flat.height:.3f}"
        f" from t = {flat.begin:.0f} to {flat.end:.0f}"
    )
falls = {name: theory.fall_time(half(S, R, D), 0.1, start) for name, half in
         (("relation", theory.relations), ("subject", theory.subjects))}  # fmt: skip
for name, when in falls.items():
    at = float(run.times[np.argmax(run[name] < 0.1)])
    print(f"the {name}'s loss is below .1 at t = {when:.1f} of the flow; SGD, looked at every 6: {at:.1f}")
    assert abs(at - when) < 10

# %% [markdown]
# Every time is a quadrature, so it has derivatives: how much longer is the plateau if the start is ten times as
# small, if there are more subjects?

# %%
length = lambda S, log_start: (lambda flat: flat.end - flat.begin)(theory.plateau(S, R, D, 10.0**log_start))
by_subject, by_start = jax.grad(length, (0, 1))(16.0, -3.0)
print(f"the plateau lasts {length(16.0, -3.0):.0f}; each subject more adds {by_subject:.0f}, a start ten times smaller",
      f"{-by_start:.0f}")  # fmt: skip

# %% [markdown]
# ## How to make it not
#
# A token that stands μ times in each text is learned μ times as fast, from a start √μ times as large. So say the
# subject more often. How often, for both halves to fall at once? A root of the same times, by Newton's method.


# %%
def gap(mentions):
    subjects = theory.fall_time(theory.subjects(S, R, D, mentions), 0.1, start)
    return subjects - theory.fall_time(theory.relations(S, R, D), 0.1, start)


mentions = 1.0
for _ in range(8):
    mentions = mentions - gap(mentions) / jax.grad(gap)(mentions)
print(f"mentions of the subject for both halves to fall at once: {mentions:.3f}")
assert abs(gap(mentions)) < 1e-6

three = am.FactualTask.balanced(S, R, D, jr.key(0), noise=20, length=16, draws=1, mentions=(3, 1))
cured = am.simulate(
    three,
    am.LinearAttentionRecall.constant(three, start),
    sgd,
    observe=watch,
    every=20,
    key=jr.key(2),
)
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
am.plot.line(ax, run.times, run["loss"], label="subject said once")
am.plot.line(ax, cured.times, cured["loss"], colour=1, label="three times")
ax.axhline(np.log(D), color="grey", linewidth=0.5)
ax.set(xlabel="time (learning rate × step)", ylabel="loss (nats)")
ax.legend(frameon=False)
plt.show()
known = [float(r.times[np.argmax(r["loss"] < 0.1)]) for r in (run, cured)]
print("all facts known at t =", *np.round(known, 1))
assert known[1] < known[0] / 1.8

# %% [markdown]
# ## Where a transformer puts facts
#
# Written by hand (Slides p. 22–23): attention alone, each right answer with score 2, others at most 1, up to what
# random embeddings have in common. The plain sum needs a large width; written with the pseudo-inverse it is exact as
# soon as all tokens fit. `assocmem run facts_constructed` has the thresholds, `facts_parameters` how many facts trained
# ones hold for each parameter.

# %%
recall = {}
for width, inverse in ((64, False), (512, False), (64, True)):
    written = am.factual.FactualTransformer.constructed(
        task, jr.key(3), width, heads=4, head_width=width // 4, pseudo_inverse=inverse
    )
    recall[width, inverse] = 1 - float(am.error(task, written))
    how = "pseudo-inverse" if inverse else "sum"
    print(f"d = {width}, {4 * width**2} parameters, {how}: recall {recall[width, inverse]:.3f}")
assert recall[64, False] < recall[512, False] < recall[64, True] == 1
