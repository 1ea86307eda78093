"""Text as a task, and how tokens and matrices are written in figures."""

from typing import Any

import numpy as np

import assocmem_jax as am

from .... import plot
from .schemas import Data


def bigram_task(law: Data, length: int, **options: Any):
    triggers: Any = law.triggers
    if law.fixed:
        triggers = characters().most_frequent(law.triggers, law.skip)
    options |= {"triggers": triggers, "outputs": law.outputs, "repeat": law.repeat}
    return am.BigramTask.shakespeare(length=length, **options)


def alphabet() -> str:
    return characters().alphabet or ""


def characters():
    """The task for the sake of its characters and their law; its sequences are never looked at."""
    return am.BigramTask.shakespeare(length=2, triggers=1, data=1, loss_on="all")


def mathematics(text: str) -> str:
    """W_O² and its like as mathematics."""
    for plain, head in (("_O", "O"), ("_K", "K"), ("_V", "V")):
        for power, number in (("¹", "1"), ("²", "2")):
            text = text.replace(f"W{plain}{power}", f"$W_{head}^{number}$")
    return text.replace("W_F", "$W_F$").replace("w_U", "$w_U$")


def matrix(ax, values, positions: bool, **options: Any):
    """The scores of a memory, first row on top; those of positions: queries from 2, keys from 1."""
    rows, columns = (np.arange(n) for n in values.shape)
    across, up = (columns + 1, rows + 2) if positions else (columns, rows)
    image = plot.mesh(ax, across, up, values, None, **{"cmap": "RdBu_r"} | options)
    ax.locator_params(nbins=4, integer=True)
    ax.invert_yaxis()
    return image


def letter(c: str) -> str:
    return {"\n": "↵", " ": "␣"}.get(c, c)
