"""What the README prints, runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOUR = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")


@pytest.mark.examples
def test_the_python_of_the_readme_runs_as_printed():
    blocks = [b for page in (README, TOUR) for b in re.findall(r"```python\n(.*?)```", page, re.S)]
    runs = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", block], capture_output=True, text=True, check=False
        )
        for block in blocks
    ]
    for run in runs:
        assert run.returncode == 0, run.stderr
    first, text, facts, pairs = (run.stdout for run in runs)
    written, trained = (float(size) for size in re.findall(r"Capacity\(N = ([\d.]+)", facts))
    assert 5 * written < trained < 60  # d² = 144 = N log N at N = 40
    last = {line.split(":")[0].strip(): float(line.split()[-1]) for line in text.splitlines()}
    assert last["accuracy"] > 0.45
    assert last["output2"] > 0.8
    assert "in the bracket at all times: True" in first
    assert "spikes to 1.34" in first
    assert "(1000,)" in first
    assert "steps at α = 0.5: 2 to 31" in first
    assert float(pairs) > 0  # the rarest pair is recalled


def test_the_commands_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in re.findall(r"^make (\w+)", README, re.M):
        assert f"\n{line}:" in makefile
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`((?:docs|notebooks|tests|examples)/[\w./]+)`", text):
            assert (ROOT / path).exists(), (page, path)
        for path in re.findall(r"\]\(([\w./]+)\)", text):
            assert (page.parent / path).exists(), (page, path)
