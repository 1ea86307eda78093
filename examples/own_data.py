"""Your own pairs: names, counts and embeddings to a trained memory, a Dataset, a file and a picture.

python examples/own_data.py
"""

import tempfile
from pathlib import Path

import numpy as np
import optax

import assocmem_jax as am

PAIRS = [("France", "Paris"), ("Italy", "Rome"), ("Japan", "Tokyo"), ("Chad", "N'Djamena")]
COUNTS = [400, 250, 300, 5]  # how often each is met
EMBEDDINGS = {  # any table of words, or a file: .npy, .safetensors, lines of a word and its numbers
    "France": [1.0, 0.2, 0.0], "Italy": [0.9, 0.5, 0.0], "Japan": [0.1, 0.9, 0.3], "Chad": [0.2, 0.6, 0.9],
}  # fmt: skip


def main():
    task = am.AssociationTask.from_pairs(PAIRS, COUNTS, embeddings=EMBEDDINGS)
    descent = am.Descent(optax.sgd, 300, learning_rate=20.0)
    watch = [am.loss, am.error, am.margins]
    first = am.simulate(task, am.LinearMemory.zeros(task), descent, observe=watch, every=10)
    more = am.simulate(task, first.model, descent, observe=watch, every=10)
    run = am.concat(first, more)  # 600 steps
    data = run.to_xarray()
    for name in data.token.values:
        margin = data.margins.sel(token=name)
        wrong = data.step.values[np.asarray(margin) <= 0]
        print(f"{name:8} wrong until step {wrong[-1]:3d}, margin {float(margin[-1]):.2f} at the end")
    with tempfile.TemporaryDirectory() as place:
        data.to_netcdf(Path(place) / "run.nc")
        data.margins.to_dataframe().to_csv(Path(place) / "margins.csv")
        run.plot("loss", "margins").savefig(Path(place) / "run.png")
        print(*sorted(path.name for path in Path(place).iterdir()))


if __name__ == "__main__":
    main()
