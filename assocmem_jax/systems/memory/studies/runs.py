"""Error along SGD: constant and decaying rates, a matrix alone or with its embeddings."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, diverged, interval
from .stochastic_schemas import Runs

_RULES = {"sgd": optax.sgd, "adam": optax.adam}


def run(study: Runs, scratch: Path | None):
    keys = jax.random.split(jax.random.key(study.seed), study.trials)

    def trained(case):
        rates = np.full(case.steps, case.learning_rate)
        if case.switch is not None:
            rates[case.switch :] = case.later
        looks = np.unique(np.round(np.geomspace(1, case.steps, study.looks)).astype(int))
        law = am.laws.zipf(case.tokens, case.zipf_exponent)
        kind = {"matrix": am.LinearMemory, "learned": am.memory.EmbeddedMemory}[case.memory]

        def trial(key):
            draws = jax.random.split(key, 4)
            outputs = am.embeddings.sphere if study.unit_outputs else am.embeddings.gaussian
            task = am.AssociationTask(
                law, jnp.arange(1, case.tokens + 1) % case.classes,
                am.embeddings.gaussian(draws[0], case.tokens, case.dimension),
                outputs(draws[1], case.classes, case.dimension),
            )  # fmt: skip
            start = kind.gaussian(task, draws[2]) if case.random_start else kind.zeros(task)
            descent = am.Descent(_RULES[case.optimizer], case.steps, case.batch, learning_rate=rates)
            watch = {"error": am.error, "loss": am.loss}
            run = am.simulate(task, start, descent, observe=watch, at=looks, key=draws[3], throw=False)
            return run.observed["error"][1:], run.observed["loss"][1:], run.status

        error, loss, status = jax.jit(jax.vmap(trial))(keys)
        spare = ((0, 0), (0, study.looks - len(looks)))
        return {
            "error": np.pad(error, spare, "edge"), "loss": np.pad(loss, spare, "edge"), "status": status,
            "step": np.pad(looks, spare[1:], "edge"),
        }  # fmt: skip

    with Parts(scratch, len(study.cases)) as part:
        found = [part(f"{k}", lambda case=case: trained(case)) for k, case in enumerate(study.cases)]
    axes = {"error": ("trial", "look"), "loss": ("trial", "look"), "status": ("trial",), "step": ("look",)}
    return xr.Dataset(
        {name: (("case", *dims), np.stack([one[name] for one in found])) for name, dims in axes.items()}
    )


def report(study: Runs, data):
    lines = diverged(data.status)
    for k, case in enumerate(study.cases):
        mean, half = (value[-1] for value in interval(data.error.values[k], 0))
        loss, slack = (value[-1] for value in interval(data.loss.values[k], 0))
        path = dict(zip(data.step.values[k], data.error.values[k].mean(0)))
        some = list(path.items())[:: max(1, len(path) // 6)]
        along = ", ".join(f"{value:.4f} at {step}" for step, value in some)
        lines.append(
            f"{case.label}: error {mean:.4f} ± {half:.4f}, loss {loss:.4f} ± {slack:.4f} after {case.steps} "
            f"steps of {case.batch}; along training {along}"
        )
    return lines


def figure(study: Runs, data):
    figure, ((ax, other),) = plot.panels(1, 2, 2.8, plot.PAGE)
    for k, case in enumerate(study.cases):
        steps, once = np.unique(data.step.values[k], return_index=True)
        for place, name in ((ax, "error"), (other, "loss")):
            mean, half = interval(data[name].values[k][:, once], 0)
            half = np.stack([np.minimum(half, 0.9 * mean), half])  # a logarithmic axis has no zero
            plot.band(place, steps, mean, half, colour=k, label=case.label)
    ax.set(xlabel="step", ylabel="0-1 loss, mean of runs")
    other.set(xlabel="step", ylabel="loss, mean of runs (nats)")
    plot.log_axes(ax)
    plot.log_axes(other)
    plot.legend(figure, band="95 % interval of the mean")
    return figure
