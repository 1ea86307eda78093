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
# # Executable theorems: one verified, one refuted, one of your own
#
# Every theorem of the papers is a program here (`docs/theory.md` lists them): a domain of problems, the
# printed form, the corrected form, and a second route that shares no code with the simulator. `am.check`
# draws problems and runs them all; so does the command `assocmem check`.

# %%
# %matplotlib inline
import jax
import matplotlib.pyplot as plt
import optax

jax.config.update("jax_enable_x64", True)  # theory checks need float64
import assocmem_jax as am

# %% [markdown]
# ## Verified: descent dominates the flow
#
# GD Theorem 2 prints $m_t \ge \log(\eta c t + 1)$ for the margin of descent. That is false: its proof drops a
# factor ½. What is true, from any start and for any schedule, is $e^{m_t} + m_t \ge e^{m_0} + m_0 + c\sum_s \eta_s$.
# One call checks both on a thousand problems.

# %%
report = am.check("gd.8", samples=1000)
print(report)
verdict = report["gd.8"]
assert verdict.corrected.holds and verdict.second.holds and not verdict.printed.holds

# %% [markdown]
# The proof sketch and the tolerance come with the statement, and it can be called on any problem:

# %%
dominates = verdict.statement
print(dominates.proof)
print("tolerance:", dominates.tolerance)
one = dominates(a=1.0, m0=0.0, decay=0.0)
print("after one step: margin", one["printed"][0].left[1], "against the printed", one["printed"][0].right[1])

# %% [markdown]
# ## Refuted: an interval for $\gamma_1$
#
# Appendix C of GD says that under descent $\gamma_1$ stays in an interval, at all times. Sampling finds runs
# that leave it; `am.shrink` looks for the simplest one (Hypothesis does the shrinking), and we draw it.

# %%
interval = am.statements.statements("gd.20")[0]
print("printed:", interval.printed)
print("what is wrong:", interval.reason)
smallest = am.shrink(interval)
print("a simplest counterexample:", smallest)
claims = interval(**smallest)
assert any((claim.excess() > claim.within).any() for claim in claims["printed"])
assert not any((claim.excess() > claim.within).any() for claim in claims["corrected"])

# %%
task = am.two_tokens(smallest["alpha"], smallest["p1"])
dynamics = am.Descent(optax.sgd, 30, learning_rate=smallest["rate"])
run = am.simulate(task, am.LinearMemory.zeros(task), dynamics, observe=dict(gammas=am.memory.gammas))
with am.plot.paper():
    figure, ax = plt.subplots(figsize=(3.25, 2.2), layout="constrained")
    am.plot.line(ax, run.steps, run.observed["gammas"][:, 0], colour=0, marker="o", markersize=2, label="γ₁(t)")
    low, high = claims["printed"][0].right, claims["printed"][1].right
    ax.axhspan(float(low), float(high), color=am.plot.COLOURS[1], alpha=0.3, linewidth=0, label="printed interval")
    ax.set(xlabel="step t", ylabel="γ₁")
    ax.legend()

# %% [markdown]
# ## Yours: "what is learned stays learned"
#
# A conjecture in ten lines: once descent answers every token correctly, it never errs again. Is that so for two
# tokens?


# %%
@am.statement(
    "reader.keeps",
    "what is learned stays learned",
    domain=dict(alpha=am.Uniform(-1, 1), p1=am.Uniform(0.5, 0.99), rate=am.LogUniform(0.01, 100)),
)
def keeps(alpha, p1, rate):
    """Not proved: is it true?"""
    hits = am.time_to_perfect(am.two_tokens(alpha, p1), rate, 200)
    return am.equal(hits.first_step == hits.stable_step, True)


report = am.check("reader")
print(report)
assert not report.ok

# %% [markdown]
# It is not: and the smallest counterexample says where to look. The rare token is learned by a large step
# while both margins are small; the next step of the frequent one takes it away again.

# %%
lost = am.shrink(keeps, "corrected")
print("it fails at", lost)
task = am.two_tokens(lost["alpha"], lost["p1"])
dynamics = am.Descent(optax.sgd, 12, learning_rate=lost["rate"])
run = am.simulate(task, am.LinearMemory.zeros(task), dynamics, observe=dict(margins=am.margins))
with am.plot.paper():
    figure, ax = plt.subplots(figsize=(3.25, 2.2), layout="constrained")
    for k, name in enumerate(("frequent token", "rare token")):
        am.plot.line(ax, run.steps, run.observed["margins"][:, k], colour=k, marker="o", markersize=2, label=name)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set(xlabel="step", ylabel="margin")
    ax.legend()

# %% [markdown]
# All counterexamples have $\alpha > 0$: the tokens compete. For $\alpha \le 0$ both terms of (17) are positive, so
# both margins only grow. That mends the conjecture, and proves it.


# %%
@am.statement(
    "reader.keeps_mended",
    "what is learned stays learned if α ≤ 0",
    domain=dict(alpha=am.Uniform(-1, 0), p1=am.Uniform(0.5, 0.99), rate=am.LogUniform(0.01, 100)),
    status="proved",
)
def keeps_mended(alpha, p1, rate):
    """Δm_i = ηc(p_i σ(−m_i) − αp_j σ(−m_j)) > 0 for α ≤ 0."""
    return keeps.forms(alpha, p1, rate)


report = am.check("reader.keeps_mended", samples=10_000)
print(report)
assert report.ok

# %% [markdown]
# Put statements like these into a file, and `assocmem check reader --from my_statements.py` runs them from the
# command line, with an exit code that continuous integration understands.
