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
# # Sweeps: where do large learning rates stop helping?
#
# Two tokens whose inputs are $\alpha$-correlated, one more frequent than the other. Descent from $W = 0$ needs
# some number of steps until both are answered correctly (GD Figure 3). Larger rates are faster, until the
# frequent token's margin overshoots and takes the rare one with it. We sweep learning rate × correlation ×
# imbalance, find where the best rate is no longer the largest, look closer there by sampling, and reload.

# %%
# %matplotlib inline
import tempfile
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_num_cpu_devices", 2)  # before JAX is used: a sweep runs on all local devices
jax.config.update("jax_enable_x64", True)
import assocmem_jax as am

STEPS = 1000

# %% [markdown]
# ## A function of scalars
#
# It is traced once, with scalars. What it returns becomes the variables of a Dataset.


# %%
def steps_to_perfect(learning_rate, alpha, imbalance):
    task = am.two_tokens(alpha, jax.nn.sigmoid(imbalance))  # imbalance = log(p₁/p₂)
    return am.time_to_perfect(task, learning_rate, STEPS)


# %% [markdown]
# ## 125,000 configurations
#
# Vectors are axes. The result has them as coordinates, and a `status` for every configuration.

# %%
data = am.sweep(
    steps_to_perfect,
    learning_rate=np.geomspace(0.1, 100, 50),
    alpha=np.linspace(0.5, 0.99, 50),
    imbalance=np.linspace(0.1, 3, 50),
)
assert (data.status == am.Outcome.OK).all()
data

# %%
with am.plot.paper():
    figure = am.plot.heatmap(
        data.isel(imbalance=[2, 17, 49]), name="stable_step", x="alpha", y="learning_rate", facet="imbalance",
        label="steps to lasting zero error", missing=f"not in {STEPS} steps",
    )
figure

# %% [markdown]
# ## Which rate is best?
#
# Steps that were never reached are −1; as infinity they sort last. Nearly balanced tokens that are strongly
# correlated pay for large rates (above, left, upper corner); very unequal ones hardly do.

# %%
steps = data.stable_step.where(data.stable_step >= 0, np.inf)
best = steps.idxmin("learning_rate")
penalty = steps.isel(learning_rate=-1) / steps.min("learning_rate")
penalised = (penalty > 1).rename("penalised")
print(f"η = 100 is beaten by a smaller rate in {float(penalised.mean()):.0%} of the (α, imbalance) plane")

with am.plot.paper():
    figure, axes = am.plot.panels(1, 2, 2.4)
    am.plot.heatmap(best.rename("best_rate"), x="imbalance", y="alpha", label="smallest best η", ax=axes[0, 0])
    shown = penalty.where(np.isfinite(penalty)).rename("penalty")
    am.plot.heatmap(shown, x="imbalance", y="alpha", label="steps at η = 100 / fewest", ax=axes[0, 1],
                    missing="not with η = 100")
figure

# %% [markdown]
# ## Zoom by sampling
#
# The border moves with both. `sampled` draws points along one dimension, by Sobol's sequence, from a law for
# each parameter; `zipped` would take lists. The store keeps every task as soon as it is done: killed and run
# again, the same call goes on where it was.

# %%
store = Path(tempfile.mkdtemp()) / "zoom.zarr"
zoom = dict(
    point=am.sampled(4096, alpha=am.Uniform(0.5, 0.99), imbalance=am.LogUniform(0.05, 3)),
    learning_rate=np.geomspace(1, 100, 60),
    store=store,
    units={"first_step": "steps", "stable_step": "steps"},
)
close = am.sweep(steps_to_perfect, **zoom)
again = am.sweep(steps_to_perfect, **zoom)  # nothing left to do
assert again.identical(close)

# %%
steps = close.stable_step.load().where(close.stable_step >= 0, np.inf)
largest_useful = close.learning_rate.where(steps == steps.min("learning_rate")).max("learning_rate")
with am.plot.paper():
    figure, axes = am.plot.panels(1, 1, 2.6, am.plot.COLUMN)
    dots = axes[0, 0].scatter(close.imbalance, close.alpha, c=np.log10(largest_useful), s=3, cmap="viridis",
                              rasterized=True)
    axes[0, 0].set_xscale("log")
    axes[0, 0].set_xlabel("imbalance log(p₁/p₂)")
    axes[0, 0].set_ylabel("correlation α")
    figure.colorbar(dots, label="largest best η, log₁₀", pad=0.02)
figure

# %% [markdown]
# ## Reload, in a year, without this package
#
# A store is Zarr v3 with named dimensions. Its attributes say which function, precision, tile and versions.

# %%
import xarray as xr

plain = xr.open_zarr(store, chunks=None, consolidated=False)
print({name: plain.attrs[name] for name in ("function", "precision", "tile")})
assert int(plain.first_step.sel(point=7).min()) == int(close.first_step[7].min())

# %% [markdown]
# ## Noise: seeds are an axis
#
# With `seeds` the function gets a `key`; `over_seeds` keeps statistics only, computed task by task. "Never"
# is infinite, so quantiles remain right: at small rates, where lines are missing, that share of the seeds did
# not get there in 200 steps.


# %%
import jax.numpy as jnp
import optax

UNTIL = am.perfect_accuracy(hold=None)


def noisy_steps(learning_rate, key):
    task = am.two_tokens(0.75, 0.9)
    descent = am.Descent(optax.sgd, 200, batch_size=4, learning_rate=learning_rate)
    run = am.simulate(task, am.LinearMemory.zeros(task), descent, observe={}, every=200, until=UNTIL, key=key)
    return {"steps": jnp.where(run.stable_step < 0, jnp.inf, run.stable_step)}


bands = am.sweep(
    noisy_steps, learning_rate=np.geomspace(0.1, 30, 16), seeds=100, reduce=am.over_seeds(0.05, 0.5, 0.95)
)
with am.plot.paper():
    figure, axes = am.plot.panels(1, 1, 2.2, am.plot.COLUMN)
    for k, level in enumerate((0.05, 0.5, 0.95)):
        am.plot.line(axes[0, 0], bands.learning_rate, bands.steps_quantile.sel(quantile=level), colour=k,
                     label=f"{level:.0%} of seeds")
    axes[0, 0].set_xscale("log")
    axes[0, 0].set_xlabel("η")
    axes[0, 0].set_ylabel("steps to zero error (in 200)")
    axes[0, 0].legend()
figure
