"""Where one step of attention is Bayes: error over Bayes, over (L, δ, σ_z²)."""

from pathlib import Path

import jax
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts
from .. import theory
from .measure import errors, laws
from .schemas import DenoisingMap

LAWS = "linear", "sphere"


def _best(study: DenoisingMap, law, noise: float, rank: int, L: int):
    """Linear attention on the manifold, at the best c for this L; softmax on the sphere, at β of L → ∞."""
    if isinstance(law, am.denoising.LinearManifold):
        c = theory.attention_scale(rank, study.variance, noise, L)
        bayes = theory.linear_bayes(rank, study.variance, noise)
        return am.denoising.LinearAttention.scaled(study.dimension, c), bayes
    bayes = theory.sphere_bayes(rank, law.radius, noise)
    return am.denoising.SoftmaxAttention.scaled(study.dimension, law.step(noise)[0]), bayes


def run(study: DenoisingMap, scratch: Path | None):
    def column(name, noise, L):
        ratios = []
        for rank in study.ranks:
            law = laws(study, rank)[name]
            model, bayes = _best(study, law, noise, rank, L)
            key = jax.random.key(study.seed)
            ratios.append(errors(law, L, noise, [model], key, study.sequences).mean() / bayes)
        return {"ratio": np.array(ratios)}

    cells = [(name, noise, L) for name in LAWS for noise in study.noises for L in study.lengths]
    with Parts(scratch, len(cells)) as part:
        found = [part("-".join(map(str, at)), lambda at=at: column(*at))["ratio"] for at in cells]
    axes = {"noise": list(study.noises), "length": list(study.lengths), "rank": list(study.ranks)}
    shape = [len(LAWS), *(len(values) for values in axes.values())]
    return xr.Dataset({"ratio": (("law", *axes), np.reshape(found, shape))}, axes)


def report(study: DenoisingMap, data):
    return [
        f"{law}, σ_z² = {noise:g}, δ = {rank}: error over Bayes "
        + ", ".join(
            f"{float(data.ratio[i].sel(noise=noise, rank=rank, length=L)):.3f} at L = {L}"
            for L in study.lengths
        )
        for i, law in enumerate(LAWS)
        for noise in study.noises
        for rank in study.ranks
    ]


def figure(study: DenoisingMap, data):
    columns = len(study.noises)
    figure, axes = plot.panels(2, columns, 4.6, sharex=True, sharey=True)
    L = np.geomspace(min(study.lengths), max(study.lengths), 200)
    ranks = np.linspace(min(study.ranks), max(study.ranks), 200)
    most = float(np.log2(data.ratio.max()))
    for law, ratio, row in zip(LAWS, data.ratio, axes):
        for k, (noise, ax) in enumerate(zip(study.noises, row)):
            label = f"log₂(error/Bayes), {law}" if k == columns - 1 else None
            table = np.log2(ratio.sel(noise=noise).T)
            plot.mesh(ax, study.lengths, study.ranks, table, label, vmin=0, vmax=most)
            if law == "linear":
                said = theory.attention_error(ranks[:, None], study.variance, noise, L)
                said = said / theory.linear_bayes(ranks[:, None], study.variance, noise)
                ax.contour(L, ranks, np.asarray(said), [1.05, 1.5], colors="#D55E00", linewidths=0.8)
            ax.set_title(f"{law}, σ_z² = {noise:g}")
            plot.log_axes(ax, "x")
    for ax in axes[-1]:
        ax.set_xlabel("length L of the context")
    for ax in axes[:, 0]:
        ax.set_ylabel("rank δ")
        ax.set_yticks(study.ranks)
    axes[0, 0].plot([], [], color="#D55E00", linewidth=0.8, label="1.05 and 1.5 times Bayes, derived")
    plot.legend(figure)
    return figure
