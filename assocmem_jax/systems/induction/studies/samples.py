"""One gradient step from zero on n samples: which part says what, against the exact laws."""

from pathlib import Path

import numpy as np

from .... import plot
from ....studies.kit import Parts, table
from ..theory import context as theory
from .context_schemas import Samples

_LABELS = {
    "noise": "feed-forward says τ",
    "recall": "value matrix knows the answer, τ left out",
    "votes": "value matrix says the answer, τ a candidate",
}


def run(study: Samples, scratch: Path | None):
    with Parts(scratch, 1) as part:
        found = part("trials", lambda: {"shares": measured(study)})["shares"]
    n = np.array(study.samples)
    laws = (
        theory.says_noise(n, study.tokens, study.noise),
        theory.recalls(n, study.tokens, study.noise),
        theory.outvotes(n, study.tokens, study.noise),
    )
    names = [*_LABELS, *(f"{name}_law" for name in _LABELS)]
    return table(np.column_stack([n, found, *laws]), "n", *names)


def measured(study: Samples) -> np.ndarray:
    """Shares of trials (of trials and contexts, for the value matrix): a row for each n."""
    rng, N, rows = np.random.default_rng(study.seed), study.tokens, []
    for n in study.samples:
        shares = np.zeros(3)
        for _ in range(study.trials):
            contexts = rng.integers(0, N, n)
            noisy = rng.random(n) < study.noise
            # −∇L at zero: f_y = #y/n − 1/(N + 1), V_{y,o} = (#(o, y) − #o/(N + 1))/n; y is o or τ.
            own = np.bincount(contexts[~noisy], minlength=N)
            noise = np.bincount(contexts[noisy], minlength=N)
            shares += noisy.sum() > own.max(), (own > 0).mean(), (own > noise).mean()
        rows.append(shares / study.trials)
    return np.array(rows)


def report(study: Samples, data):
    lines = []
    for name, label in _LABELS.items():
        law, found = data[f"{name}_law"].values, data[name].values
        spread = _error(study, name, law) + 1e-12
        below = np.flatnonzero(law < 0.5 - 1e-9)
        first = data.n.values[0] if not below.size else [*data.n.values, np.inf][below[-1] + 1]
        off = np.abs(found - law)
        lines.append(
            f"{label}: half from n = {first:g} on, of those looked at; simulation within "
            f"{off.max():.4f} of the law, {(off / spread).max():.1f} standard errors"
        )
    half = np.log(0.5) / np.log1p(-(1 - study.noise) / study.tokens)
    return [*lines, f"the value matrix knows half of the answers at n = {half:.4g} (closed form)"]


def figure(study: Samples, data):
    figure, axes = plot.panels(1, 1, 2.6, plot.COLUMN)
    ax = axes[0, 0]
    for k, (name, label) in enumerate(_LABELS.items()):
        plot.line(ax, data.n, data[f"{name}_law"], colour=k, label=label)
        plot.points(ax, data.n, data[name], 1.96 * _error(study, name, data[f"{name}_law"].values), colour=k)
    ax.set(
        xlabel="samples n",
        ylabel="probability",
        ylim=(0, 1.03),
        title=f"N = {study.tokens}, α = {study.noise:g}",
    )
    plot.log_axes(ax, "x")
    plot.legend(figure)
    return figure


def _error(study: Samples, name: str, law):
    """Standard error of a measured share. Trials are independent, the contexts of one are so nearly."""
    trials = study.trials * (1 if name == "noise" else study.tokens)
    return np.sqrt(np.maximum(law * (1 - law), 0) / trials)
