"""The examples of docs/sweeps.md and of examples/, as printed. `make examples`; clusters: `make soak`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import assocmem_jax as am
from assocmem_jax.sweeps.store import Store

pytestmark = pytest.mark.examples
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
]
MET = "met: 61523"  # of 64,000; the laptop's, and so everyone's


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=() if "laptop" in command else pytest.mark.soak)
        for command in COMMANDS
        if command.startswith("python")
    ],
)
def test_the_scripts_of_the_page(command, tmp_path):
    words = command.replace("results/", f"{tmp_path}/").split()
    # No Slurm, which may be installed and not run.
    here = os.environ | {"PATH": str(Path(sys.executable).parent)}
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, cwd=ROOT, env=here)
    assert done.returncode == 0, done.stderr
    assert MET in done.stdout
    if len(words) > 2:
        assert Store(Path(words[2])).verify().faults == []


@pytest.mark.soak
def test_the_commands_of_the_page(tmp_path):
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = 0
    for command in COMMANDS:
        words = command.replace("results/", f"{tmp_path}/").split()
        if words[0] == "sbatch":  # what each job of the array runs
            for job in range(1, 9):
                array = {"SLURM_ARRAY_TASK_ID": str(job), "SLURM_ARRAY_TASK_COUNT": "8"}
                store = f"{tmp_path}/array.zarr"
                subprocess.run(
                    ["bash", *words[2:5], store, *words[6:]], check=True, cwd=ROOT, env=env | array
                )
        elif words[0] == "assocmem":
            subprocess.run(words, check=True, cwd=ROOT, env=env)
            ran += 1
    assert ran == 4
    array, whole = am.open_store(tmp_path / "array.zarr"), am.open_store(tmp_path / "fig3.zarr")
    boxes = [json.loads(data.attrs.pop("sweep"))["box"] for data in (array, whole)]
    chunks = [json.loads(data.attrs.pop("config"))["chunk"] for data in (array, whole)]
    assert (boxes, chunks) == ([[1, 11, 11], [10, 11, 11]], [125, None])  # all that differs
    assert array.identical(whole)


def test_a_loss_of_ones_own():
    """Printed in the page as it is; the focal loss with γ = 0 is the cross-entropy."""
    file = ROOT / "examples" / "own_loss.py"
    assert file.read_text("utf-8") in (ROOT / "docs" / "your_own_system.md").read_text("utf-8")
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    said = dict(re.findall(r"^(.*?) +(error .*)$", done.stdout, re.M))
    assert said["focal, γ = 0"] == said["cross_entropy"]
    assert len(set(said.values())) == len(said) - 1 == 6


def test_pairs_of_ones_own():
    """The rare pair is the last to be learned, and the other three are pushed aside for none of them."""
    file = ROOT / "examples" / "own_data.py"
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    until = {
        name: int(step) for name, step in re.findall(r"^(\w+) +wrong until step +(\d+)", done.stdout, re.M)
    }
    assert set(until) == {"France", "Italy", "Japan", "Chad"}
    assert until["Chad"] > 2 * max(step for name, step in until.items() if name != "Chad")
    assert done.stdout.splitlines()[-1] == "margins.csv run.nc run.png"
