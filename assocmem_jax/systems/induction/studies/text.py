"""Text as a task, and how tokens and matrices are written in figures."""

from typing import Any

import assocmem_jax as am

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
    for plain, set_ in (("W_O²", "$W_O^2$"), ("W_K²", "$W_K^2$"), ("W_K¹", "$W_K^1$"), ("W_F", "$W_F$")):
        text = text.replace(plain, set_)
    return text


def letter(c: str) -> str:
    return {"\n": "↵", " ": "␣"}.get(c, c)
