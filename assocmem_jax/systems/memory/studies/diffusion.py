"""SGD against the diffusions that stand for it: means of many runs, over the learning rate."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, through
from .plane import plane_task
from .stochastic_schemas import Diffusion

LAWS = (
    "noise of minibatches",
    "the same, second-order drift",
    "isotropic noise of the same trace at the start",
)
SEEN = ("loss L", "0-1 loss L₀₁", "‖W‖²")


def measured(task, model):
    return jnp.stack([task.loss(model), task.error(model), jnp.sum(model.weight**2)])


def run(study: Diffusion, scratch: Path | None):
    task = plane_task(study.panel)
    start = am.LinearMemory.from_plane(task, jnp.array(study.start))

    def end(key, sigma, make):
        dynamics = make(sigma)
        run = am.simulate(task, start, dynamics, observe={"all": measured}, key=key, every=dynamics.steps)
        return run.observed["all"][-1]

    many = jax.jit(jax.vmap(end, (0, None, None)), static_argnums=2)

    # The number of steps is that of the diffusion whatever the rate: one program for all of them.
    def fine(sigma):
        return am.StochasticFlow(sigma, study.horizon, study.steps)

    def coarse(sigma):
        return am.StochasticFlow(sigma, study.horizon, study.steps // 2, refine=2)

    def compared(k):
        """Means and their standard errors at one rate, of SGD and of each diffusion."""
        rate, size = study.learning_rates[k], study.batch_size
        # Other keys for every rate, so that errors of different rates are independent.
        keys = jax.random.split(jax.random.fold_in(jax.random.key(study.seed), k), 2 * study.runs)
        keys, others = keys[: study.runs], keys[study.runs :]
        noise = am.MinibatchNoise(rate, size)
        moves = jax.jacobian(lambda xi: noise.moved(task, lambda w: w, start, xi).weight)
        trace = jnp.sum(moves(jnp.zeros(task.num_tokens)) ** 2)
        second = am.MinibatchNoise(rate, size, second_order=True)
        steps = round(study.horizon / rate)
        laws = [many(keys, rate, lambda rate: am.Descent(optax.sgd, steps, size, learning_rate=rate))]
        for sigma in (noise, second, jnp.sqrt(trace / start.weight.size)):
            # Twice the fine run less the coarse one on its path: no first-order bias of Euler–Maruyama.
            laws.append(2 * many(others, sigma, fine) - many(others, sigma, coarse))
        laws = np.stack([np.asarray(law) for law in laws])
        return {"mean": laws.mean(1), "error": laws.std(1, ddof=1) / study.runs**0.5}

    with Parts(scratch, len(study.learning_rates)) as part:
        found = [part(f"{k}", lambda k=k: compared(k)) for k in range(part.total)]
    axes = ("rate", "law", "seen")
    data = {name: (axes, np.stack([one[name] for one in found])) for name in ("mean", "error")}
    return xr.Dataset(data, coords={"rate": list(study.learning_rates)})


def gaps(data, law: int, seen: int):
    """(E φ(diffusion) − E φ(SGD), its standard error), one a rate."""
    mean, error = (data[name].values[..., seen] for name in ("mean", "error"))
    return mean[:, 1 + law] - mean[:, 0], np.hypot(error[:, 1 + law], error[:, 0])


def report(study: Diffusion, data):
    rates = data.rate.values
    lines = []
    for seen, label in enumerate(SEEN):
        means = ", ".join(f"{v:.5f}" for v in data["mean"].values[:, 0, seen])
        lines.append(f"{label}, SGD: {means} at η = {', '.join(f'{rate:g}' for rate in rates)}")
        for law, name in enumerate(LAWS):
            gap, error = gaps(data, law, seen)
            each = ", ".join(f"{g:+.5f} ± {e:.5f}" for g, e in zip(gap, error))
            known = (np.abs(gap) > 3 * error) & (np.sign(gap) == np.sign(gap[np.argmax(rates)]))
            fit = through(rates[known], np.abs(gap)[known], error[known])
            lines.append(f"  {name}: {each}{f'; ~ η^{fit}' if fit else ''}")
    return lines


def figure(study: Diffusion, data):
    figure, (axes,) = plot.panels(1, len(SEEN), 2.6, plot.PAGE)
    rates = data.rate.values
    for seen, (ax, label) in enumerate(zip(axes, SEEN)):
        for law, name in enumerate(LAWS):
            gap, error = gaps(data, law, seen)
            # Where an interval reaches zero it has no lower end on a logarithmic axis.
            down = np.minimum(1.96 * error, 0.9 * np.abs(gap))
            plot.points(ax, rates, np.abs(gap), np.stack([down, 1.96 * error]), colour=law, label=name)
        top, size = rates.max(), np.abs(gaps(data, 0, seen)[0][np.argmax(rates)])
        for power, style in ((1, ":"), (2, "--")):
            ax.plot(rates, size * (rates / top) ** power, color="black", linestyle=style, linewidth=0.6,
                    label=f"slope {power}")  # fmt: skip
        ax.set(xlabel="learning rate η", ylabel="distance from the mean of SGD", title=label)
        plot.log_axes(ax)
    plot.legend(figure, band="95 % interval")
    return figure
