"""A user's folder: a study and a sweep of their own, with their configs; and the command as they call it."""

from pathlib import Path

from assocmem_jax import cli

OWN = """
from assocmem_jax import plot
from assocmem_jax.studies.study import Study


def fn(a):
    return {"y": a * a}


class Own(Study):
    title = "Own"

    def run(self, scratch):
        import xarray as xr
        from assocmem_jax.studies.kit import Parts

        with Parts(scratch, 1) as part:
            return part("one", lambda: xr.Dataset({"y": ("x", [1.0, 2.0])}))

    def report(self, data):
        return []

    def figure(self, data):
        return plot.panels(1, 1, 2.4, plot.COLUMN)[0]
"""


def command(*arguments):
    return cli.main([*map(str, arguments)])


def put(folder, points):
    """``own.py``, ``own.toml`` and ``sweep.toml`` over so many points."""
    files = {
        "own.py": OWN,
        "own.toml": 'study = "own.py:Own"\n',
        "sweep.toml": f'study = "sweep"\nfunction = "own.py:fn"\naxes.a.values = {points}\n',
    }
    for name, text in files.items():
        Path(folder, name).write_text(text, encoding="utf-8")
