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
import optax

import assocmem_jax as am

theory = am.theory.noise
N, T, n = 96, 48, 384  # tokens, length, sequences in a batch
task = am.TriggerTask.gaussian(N, 192, jr.key(0), length=T, draws=1)
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
    task = am.TriggerTask.gaussian(N, 192, one, length=T, draws=1).narrowed(d)
    return am.noise.attention_right(task, am.noise.three_steps(task, other, n, **how).model)


kinds = {"same batch": {}, "fresh batches": {"fresh": True}, "centred": {"centred": True}}
search = dict(smallest=2, largest=192, seeds=16, trials=np.inf, resolution=0.1)
found = {
    name: am.threshold(lambda key, d, how=how: right(key, d, **how), **search) for name, how in kinds.items()
}

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
fine = jnp.geomspace(2, 192, 100)
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
    needed = [
        float(theory.attention_dimension(256, length, 1024, False, centred)) for centred in (False, True)
    ]
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


# %% [markdown]
# ## The global against the context
#
# A trigger is followed by noise $\tau$ with probability $\alpha$, else by an answer $o$ that only the context tells, one of $N$.
# Attention has found $o$. A feed-forward, which reads the trigger, can learn $\tau$; the value matrix, which reads $o$,
# can learn to copy. Everything they do is in three numbers: $F$ and $C$, the logits of $\tau$ from either, and $B$, that of
# the answer (Slides p. 30).

# %%
theory = am.theory.context
N, alpha = 64, 0.3
copying = am.induction.NoisyCopyTask(N, alpha)
watch = dict(noise=am.induction.noise_probability, answer=am.induction.answer_probability)
flow = am.Descent(optax.sgd, 1000, learning_rate=2.0)  # steps small enough to be a flow
system = am.induction.NoisyCopySystem.zeros(copying)
both = am.simulate(copying, system, flow, observe=watch, every=4)
alone = am.simulate(copying, system, flow, observe=watch, every=4, trainable=lambda m: m.values)

figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for ax, run, title in zip(axes, (both, alone), ("with the feed-forward", "without")):
    am.plot.line(ax, run.times[1:], run["noise"][1:], colour=1, label="noise τ")
    am.plot.line(ax, run.times[1:], run["answer"][1:], label="the answer")
    ax.set(xscale="log", xlabel="time", title=title)
when = float(theory.overtaking_time(N, alpha))
axes[0].axvline(when, color="grey", linewidth=0.5)
axes[0].set_ylabel("probability")
axes[0].legend(frameon=False)
plt.show()
noise_half, answer_half = theory.half_times(N, alpha)
print(
    f"τ is half learned at t = {noise_half:.1f}, the answer at {answer_half:.0f}: {answer_half / noise_half:.0f} times as late"
)
print(
    f"the answer overtakes at t = {float(am.induction.time_to_overtake(copying)):.2f}; the law says {when:.2f}"
)
assert (alone["answer"][1:] > alone["noise"][1:]).all()

# %% [markdown]
# Who leads is decided by $N$ and $\alpha$ alone: below $\alpha = 2/(N + 3)$ the answer from the start, from $\alpha = 1/2$ on
# never. A map of 2,500 flows (`assocmem run context_overtaking` has a hundred thousand):

# %%
times = am.sweep(
    lambda tokens, noise: am.induction.time_to_overtake(am.induction.NoisyCopyTask(tokens, noise)),
    tokens=np.geomspace(16, 512, 50),
    noise=np.linspace(0.01, 0.52, 50),
)
law = np.asarray(theory.overtaking_time(times.tokens.values[:, None], times.noise.values))
late = (times.noise.values < 0.49) & (times.tokens.values[:, None] * times.noise.values > 16)
assert np.abs(times["value"].values[late] / law[late] - 1).max() < 0.003
image = times["value"].where((times["value"] > 0) & np.isfinite(times["value"]))
am.plot.heatmap(image, x="tokens", y="noise", log=True, label="time", missing="at once, or never")

# %% [markdown]
# ### How many samples
#
# One gradient step. To say $\tau$ takes a few samples, whatever $N$ is; to know half of the answers takes
# $N \log 2/(1 - \alpha)$. Both laws are exact.

# %%
for n in (3, 8, 64, 256):
    says, knows = theory.says_noise(n, 64, 0.5), theory.recalls(n, 64, 0.5)
    print(f"n = {n:3d}: P(the feed-forward says τ) = {says:.3f}, answers known {knows:.3f}")
assert theory.says_noise(8, 64, 0.5) > 0.9 > 0.1 > theory.recalls(8, 64, 0.5)

# %% [markdown]
# ### Cutting the part that knows τ
#
# `am.truncated` cuts matrices of any model to a rank; 0 removes. Here of one of your own, at $\alpha = 0.6$, where no
# answer ever leads: without its feed-forward every one does. `assocmem run context_truncation` does it to the MLP of a
# trained two-layer transformer, or to a model of yours.


# %%
class TwoParts(am.AbstractWeights):
    feedforward: jax.Array  # (N + 1, 1)
    values: jax.Array  # (N + 1, N)

    def scores(self, task, tokens=None):
        logits = (self.feedforward + self.values).T
        return logits if tokens is None else logits[tokens]

    def trainable(self):
        return self.feedforward, self.values


small = am.induction.NoisyCopyTask(16, 0.6).associations()
start = TwoParts(jnp.zeros((17, 1)), jnp.zeros((17, 16)))
trained = am.simulate(small, start, am.Descent(optax.sgd, 200, learning_rate=2.0), observe={}).model
print("soft rank of the value matrix:", round(float(am.soft_rank("values")(small, trained)), 2))
leading = lambda m: float(jnp.mean(jnp.argmax(m.scores(small), axis=1) == jnp.arange(16)))
cut = am.truncated(trained, "feedforward", 0)
print(f"answers that lead: {leading(trained):.2f}; without the feed-forward {leading(cut):.2f}")
assert leading(trained) == 0 and leading(cut) == 1
