"""A thousand mutated configs through the loader, half as many run: a refusal is one line and exit code 2.

Run by `make soak`; FUZZ=200,40 makes it smaller, FUZZ_SEED another. A run that its limit stops (ten seconds,
4 GiB) is no failure; a traceback, a line of more than 300 characters and a dead process are.
"""

import contextlib
import copy
import itertools
import json
import math
import os
import random
import subprocess
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, Queue

import pytest

from assocmem_jax.commands.common import reported
from assocmem_jax.studies import config
from assocmem_jax.studies.config import load
from assocmem_jax.studies.registry import entries
from assocmem_jax.systems import configs

pytestmark = [pytest.mark.soak]
LOADED, RUN = (int(n) for n in os.environ.get("FUZZ", "1000,500").split(","))
SEED = int(os.environ.get("FUZZ_SEED", "21"))
SECONDS, BYTES, LONGEST, WORKERS = 10, 2**32, 300, 2
SMALL = {name: words for entry in entries().values() for name, words in entry.small.items()}
VALUES = [
    None, True, False, 0, 1, -1, 2, 7, 2**31 - 1, 2**31, 2**63, 2**64, 10**12, 10**300, 10**5000,
    0.0, -0.0, 0.5, 1e-12, 5e-324, 1e12, 1e154, 1e308, -1e308, math.inf, -math.inf, math.nan,
    "", "x", "é\u202e\x1b[31m", "9" * 400, "../../etc", "a.py:B", "gd.loss_spikes",
    [], {}, [[]], [1, "x"], [0], [1e308], [1, 1], list(range(50)), [[0.0] * 2] * 2,
    {"x": 1}, {"linear": [0, 1, 3]}, {"log": [0, 1, 3]}, {"linear": [1, 0, 10**9]},
]  # fmt: skip
CHARACTERS = '=[]{}",.#\n\x00\x1b é9-_eE'


def places(value, at=()):
    """Keys of everything inside a table or a list."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*at, key)
            yield from places(value[key], (*at, key))


def changed(chance, raw):
    """One part of a config replaced, scaled, left out, misspelt, repeated, moved, wrapped or added to."""
    raw = copy.deepcopy(raw)
    at = chance.choice(list(places(raw)))
    holder = raw
    for key in at[:-1]:
        holder = holder[key]
    key, value = at[-1], holder[at[-1]]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match chance.choice(
        ["value", "value", "scale", "scale", "scale", "gone", "name", "twice", "swap", "wrap", "new"]
    ):
        case "scale" if number:
            by = chance.choice([-1, 0, 0.1, 0.5, 2, 3, 10, 1000, 1e6])
            holder[key] = (
                type(value)(value * by) if chance.random() < 0.8 else value + chance.choice([-1, 1, 0.5])
            )
        case "gone":
            del holder[key]
        case "name" if isinstance(holder, dict):
            word = str(key)
            cut = chance.randrange(len(word) + 1)
            holder[
                chance.choice([word[:cut] + word[cut + 1 :], word[:cut] + "s" + word[cut:], word.upper(), ""])
            ] = holder.pop(key)
        case "twice" if isinstance(value, list) and value:
            value.append(copy.deepcopy(chance.choice(value)))
        case "swap":
            other = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            holder[key], holder[other] = holder[other], holder[key]
        case "wrap":
            holder[key] = chance.choice([[value], [value, value], {str(key): value}])
        case "new":
            (holder if isinstance(holder, dict) else raw)[
                chance.choice(["steps", "seed", "precision", "x", "tile"])
            ] = chance.choice(VALUES)
        case _:
            holder[key] = chance.choice(VALUES)
    return raw


def mutated(chance, name, folder):
    """A file: the small form of a config, with one change or two; one in six as text with letters changed."""
    text = configs()[name].read_text(encoding="utf-8")
    if chance.random() < 1 / 6:
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text))
            text = (
                text[:at] + chance.choice(["", chance.choice(CHARACTERS)]) + text[at + chance.randint(0, 1) :]
            )
        path = folder / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return path
    raw = tomllib.loads(text)
    for words in SMALL[name]:
        config._override(raw, words, config._Locator(name, folder, {}))
    for _ in range(chance.choice([1, 1, 2])):
        raw = changed(chance, raw)
    path = folder / f"{name}.json"
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)  # to write 10**5000; it is read with the limit
    try:
        path.write_text(json.dumps(raw), encoding="utf-8")
    finally:
        sys.set_int_max_str_digits(4300)
    return path


def drawn(count, folder, seed):
    """Every config in turn."""
    chance = random.Random(seed)
    names = sorted(configs())
    for k, name in zip(range(count), itertools.cycle(names)):
        place = folder / str(k)
        place.mkdir()
        yield mutated(chance, name, place)


def faults_of(code, said):
    """What is wrong with a refusal."""
    lines = said.splitlines()
    if code not in (0, 2):
        return f"exit code {code}: {said[-300:]}"
    if code == 2 and not lines:
        return "refused without a word"
    if "Traceback" in said:
        return f"a traceback: {lines[-1]}"
    if long := [line for line in lines if len(line) > LONGEST]:
        return f"{len(long[0])} characters: {long[0]}"
    if odd := [c for c in said if not c.isprintable() and c not in "\n\r"]:
        return f"a character that is not printed: {odd[0]!r}"
    return None


def test_a_thousand_mutants_through_the_loader(tmp_path, capsys):
    wrong, refused = [], 0
    for path in drawn(LOADED, tmp_path, SEED):
        try:
            code = reported(lambda path=path: str(load(path))[:0])
        except Exception as fault:  # all of them: that is what is tested
            wrong.append((str(path), f"{type(fault).__name__}: {str(fault)[:200]}"))
            continue
        if fault := faults_of(code, capsys.readouterr().err):
            wrong.append((str(path), fault))
        refused += code == 2
    assert not wrong, f"{len(wrong)} of {LOADED}: {wrong[:20]}"
    # Or nothing was tested: mutants of both kinds.
    assert LOADED / 5 < refused < 4 * LOADED / 5


WORKER = """
import contextlib, io, json, sys, traceback
from assocmem_jax import cli
for line in sys.stdin:
    said, shown = io.StringIO(), io.StringIO()
    path, out = json.loads(line)
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
        try:
            code = cli.main(["run", path, "--out", out])
        except SystemExit as end:
            code = end.code
        except BaseException:
            code = -1
            traceback.print_exc()
    print(json.dumps([code, said.getvalue()]), flush=True)
"""


class Worker:
    """A process that runs one config after another; ended, and begun again, where one takes too much."""

    def __init__(self, folder):
        self.folder, self.process, self.runs = folder, None, 0

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, cwd=self.folder,
        )  # fmt: skip
        self.answers = Queue()
        threading.Thread(target=self.listen, args=(self.process, self.answers), daemon=True).start()
        self.runs = 0

    @staticmethod
    def listen(process, answers):
        for line in process.stdout:
            answers.put(line)
        answers.put(None)

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
        self.process = None

    def held(self):
        with contextlib.suppress(OSError, IndexError, ValueError):
            pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def run(self, path):
        """(code, stderr), or None where the limit stopped it."""
        if self.process is None or self.runs >= 25:
            self.end()
            self.start()
        self.process.stdin.write(json.dumps([str(path), str(path.parent / "out")]) + "\n")
        self.process.stdin.flush()
        # A process that has just begun imports JAX first.
        until = time.monotonic() + SECONDS + (0 if self.runs else 20)
        self.runs += 1
        while time.monotonic() < until and self.held() < BYTES:
            try:
                answer = self.answers.get(timeout=0.1)
            except Empty:
                continue
            if answer is None:
                code = self.process.wait()
                self.end()
                return code, "the process died"
            return tuple(json.loads(answer))
        self.end()
        return None


def loadable(folder, count):
    """So many mutants that are taken."""
    for path in drawn(20 * count, folder, SEED + 1):
        with contextlib.suppress(config.ConfigError):
            load(path)
            count -= 1
            yield path
        if count == 0:
            return


def test_half_of_them_run(tmp_path):
    workers, free = [Worker(tmp_path) for _ in range(WORKERS)], Queue()
    for worker in workers:
        free.put(worker)

    def run(path):
        worker = free.get()
        try:
            return worker.run(path)
        finally:
            free.put(worker)

    paths = list(loadable(tmp_path, RUN))
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            found = list(pool.map(run, paths))
    finally:
        for worker in workers:
            worker.end()
    ended = [one[0] for one in found if one is not None]
    whole, refused, stopped = ended.count(0), ended.count(2), found.count(None)
    print(f"{len(paths)} run: {whole} to their end, {refused} refused, {stopped} stopped")
    wrong = [(path, fault) for path, one in zip(paths, found) if one and (fault := faults_of(*one))]
    assert not wrong, f"{len(wrong)} of {RUN}: " + "\n".join(f"{path}: {fault}" for path, fault in wrong)
    assert len(paths) == RUN
    assert whole > RUN / 4  # or what was run says nothing
