"""What a learner of three steps is worth, as a function of a key: the width may be traced."""

import jax.random as jr

import assocmem_jax as am


def learner(tokens: int, widest: int, length: int, sequences: int, batches: str):
    """A function (key, d) → (task, model): embeddings of ``widest`` coordinates, of which d are kept."""

    def make(key, dimension):
        keys = jr.split(key)
        task = am.TriggerTask.gaussian(tokens, widest, keys[0], length=length, draws=1).narrowed(dimension)
        options = {"fresh": batches == "fresh", "centred": batches == "centred"}
        return task, am.noise.three_steps(task, keys[1], sequences, **options).model

    return make
