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
# # First steps: a memory, a spike, a flow, a gradient through the training
#
# An associative memory stores pairs $(x, y)$ in a matrix $W$: it answers $\arg\max_y u_y^\top W e_x$.
# We train the smallest one that does something surprising: two tokens whose inputs are correlated
# ($\alpha = 0.95$) and of which one is three times as frequent as the other.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

jax.config.update("jax_enable_x64", True)
import assocmem_jax as am

task = am.two_tokens(alpha=0.95, p1=0.75)
memory = am.LinearMemory.zeros(task)
watch = dict(loss=am.loss, error=am.error, margins=am.margins, gammas=am.memory.gammas)

# %% [markdown]
# ## A spike
#
# With a large learning rate the frequent token erases the rare one: the loss rises above its initial value
# before it falls far below that of the small rate (GD Figure 2). `until` with `hold=None` only watches:
# it reports when the error first was zero, and from when on it stayed zero.

# %%
runs = {
    rate: am.simulate(
        task, memory, am.Descent(optax.sgd, 35, learning_rate=rate), observe=watch, until=am.perfect_accuracy(hold=None)
    )
    for rate in (10.0, 1.0)
}
fast, slow = runs[10.0], runs[1.0]
print(fast)
print("first zero error at step", fast.first_step, "and for good at step", fast.stable_step)
assert fast.observed["loss"].max() > fast.observed["loss"][0]
assert (jnp.diff(slow.observed["loss"]) < 0).all()

# %%
with am.plot.paper():
    figure, axes = plt.subplots(1, 2, figsize=(6.75, 2.2), layout="constrained")
    for k, (rate, run) in enumerate(runs.items()):
        am.plot.line(axes[0], run.steps, run.observed["loss"], colour=k, label=f"η = {rate:g}")
        am.plot.line(axes[1], run.steps, run.observed["margins"][:, 1], colour=k)
    axes[0].set(xlabel="step", ylabel="loss (nats)")
    axes[0].legend()
    axes[1].set(xlabel="step", ylabel="margin of the rare token")
    axes[1].axhline(0, color="black", linewidth=0.4)

# %% [markdown]
# ## A flow against its closed form
#
# Gradient flow to $t = 10^{12}$ is routine: it is integrated in $\log(1+t)$. With orthogonal inputs the margins
# are known exactly, $e^m + m = 1 + ct$; with correlated ones they are bracketed at all times.

# %%
orthogonal = am.two_tokens(alpha=0.0, p1=0.75)
flow = am.simulate(orthogonal, memory, am.GradientFlow(1e12), observe=watch)
exact = am.theory.two_particles.independent_margins(flow.times, 0.75, 2.0)
worst = jnp.max(jnp.abs(flow.observed["margins"] - exact)[1:] / exact[1:])
print(f"{flow.num_steps} solver steps, largest relative error {worst:.1e}")
assert worst < 1e-8

flow = am.simulate(task, memory, am.GradientFlow(1e12), observe=watch)
low, high = am.theory.two_particles.gamma_bracket(task, flow.times)
gammas = flow.observed["gammas"]
assert (gammas >= low - 1e-8).all()
assert (gammas <= high + 1e-8).all()

# %%
with am.plot.paper():
    figure, ax = plt.subplots(figsize=(3.25, 2.4), layout="constrained")
    am.plot.line(ax, flow.times[1:], gammas[1:, 1], colour=0, label="γ₂ (max-margin direction)")
    am.plot.line(ax, flow.times[1:], gammas[1:, 0], colour=1, label="γ₁")
    ax.fill_between(flow.times[1:], low[1:, 1], high[1:, 1], alpha=0.25, linewidth=0, label="proved bracket of γ₂")
    ax.axhline(am.theory.two_particles.limit(0.75), color="black", linewidth=0.5, linestyle=":")
    ax.set(xscale="log", xlabel="time", ylabel="γ")
    ax.legend()

# %% [markdown]
# ## A gradient through the training
#
# The whole run is differentiable: how does the loss after 35 steps change with the learning rate? And with
# `vmap`, at a thousand learning rates at once.


# %%
def final_loss(rate):
    descent = am.Descent(optax.sgd, 35, learning_rate=rate)
    return am.simulate(task, memory, descent, observe=dict(loss=am.loss)).observed["loss"][-1]


slope = jax.grad(final_loss)(1.0)
central = (final_loss(1.0 + 1e-5) - final_loss(1.0 - 1e-5)) / 2e-5
print(f"derivative {slope:.8f}, central difference {central:.8f}")
assert abs(slope - central) < 1e-6

rates = jnp.logspace(-1, 1.5, 1000)
losses = jax.jit(jax.vmap(final_loss))(rates)
best = rates[jnp.argmin(losses)]
print(f"lowest loss after 35 steps at η = {best:.2f}: {losses.min():.4f}")

# %%
with am.plot.paper():
    figure, ax = plt.subplots(figsize=(3.25, 2.2), layout="constrained")
    am.plot.line(ax, rates, losses, colour=0)
    ax.set(xscale="log", yscale="log", xlabel="learning rate η", ylabel="loss after 35 steps (nats)")
