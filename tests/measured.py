"""The rows of the scoreboard: each measures a number, by an oracle that shares no code with the package."""

import contextlib
import functools
import hashlib
import importlib.util
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats

import assocmem_jax as am
import helpers
import killed
import swept
from assocmem_jax import machine, theory
from assocmem_jax.commands.common import reported
from assocmem_jax.studies.config import ConfigError, load

HERE = Path(__file__).parent


class Found(NamedTuple):
    """What a row measured, in words, and whether that is the goal."""

    words: str
    met: bool


class Row(NamedTuple):
    """``long``: the check that takes so long, tests/NAME.py; ``measure`` is given what it kept."""

    name: str
    goal: str
    measure: Callable[..., Found]
    long: str = ""


ROWS: list[Row] = []


def row(name: str, goal: str, *, long: str = "") -> Callable:
    def put(measure):
        ROWS.append(Row(name, goal, measure, long))
        return measure

    return put


@functools.cache
def tests(name: str) -> Any:
    """A module of tests, as it stands."""
    path = HERE / "engine" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"measured_{name}", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def of(sound: int, all: int, words: str) -> Found:
    return Found(f"{sound} of {all} {words}", sound == all)


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


@contextlib.contextmanager
def single():
    """As without jax_enable_x64."""
    jax.config.update("jax_enable_x64", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", True)


# --- Numbers --------------------------------------------------------------------------------------


@row("flow against closed forms", "relative error ≤ 1e-8, median ≤ 1e-10; ≥ 200 problems, t to 10¹²")
def closed_forms():
    flow, errors = tests("test_flow"), []

    def judge(found, expected):
        found, expected = np.broadcast_arrays(found, np.asarray(expected))
        errors.extend(np.abs(found - expected).max(axis=1) / np.abs(expected).max(axis=1))

    flow.judge = judge
    solve = flow.solver_of_many()
    for oracle in (
        "binary_orthogonal_from_any_start", "many_classes_from_zero", "many_classes_from_any_scores",
        "equicorrelated_tokens", "two_particles",
    ):  # fmt: skip
        getattr(flow, f"test_{oracle}")(solve)
    worst, median = max(errors), float(np.median(errors))
    words = f"{worst:.1e}, median {median:.1e}; {len(errors)} problems"
    return Found(words, len(errors) >= 200 and worst <= 1e-8 and median <= 1e-10)


@row("flow to finite minimisers", "scores within 1e-8 of Newton's method in ≤ 300 steps; 200 problems")
def minimisers():
    off, steps = tests("test_precision").distance_from_minimisers()
    worst = float(np.abs(off).max())
    return Found(f"{worst:.1e} in at most {steps.max()} steps; {len(off)} problems",
                 worst <= 1e-8 and steps.max() <= 300 and len(off) == 200)  # fmt: skip


@row("order of every solver", "within 0.15 of its order, R² > 0.999")
def orders():
    flow, words, met = tests("test_flow"), [], True
    for case in flow.ORDERS:
        solver, order, first, ratio = getattr(case, "values", case)
        measured, fit, _ = flow.measured_order(solver, order, first, ratio)
        met &= bool(abs(measured - order) <= 0.15 and fit > 0.999)
        words.append(f"{type(solver).__name__} {measured:.2f} ({order})")
    return Found(", ".join(words), met)


@row("orders of the stochastic flow", "Euler strong 1.0 ± 0.1, weak 1.0 ± 0.15; ShARK strong 1.5 ± 0.1")
def stochastic_orders():
    measured = tests("test_stochastic").measured_orders
    (strong, fit), (weak, _) = measured(diffrax.Euler())
    (shark, other), _ = measured(diffrax.ShARK())
    met = abs(strong - 1) <= 0.1 and abs(weak - 1) <= 0.15 and abs(shark - 1.5) <= 0.1
    return Found(
        f"Euler strong {strong:.2f}, weak {weak:.2f}; ShARK strong {shark:.2f}",
        met and min(fit, other) > 0.999,
    )


@row("gradients against finite differences", "relative error ≤ 1e-6, every dynamics")
def gradients():
    cases = tests("test_gradients")
    pairs = np.array([pair for case in cases.CASES for pair in cases.slopes_and_differences(case)])
    # Differences of size below 0.1 are known to 1e-7 only: rounding over the step.
    errors = np.abs(pairs[:, 0] - pairs[:, 1]) / np.maximum(np.abs(pairs[:, 1]), 0.1)
    return Found(f"{errors.max():.1e}; {len(pairs)} derivatives of {len(cases.CASES)} dynamics",
                 bool(errors.max() <= 1e-6))  # fmt: skip


@row("optimizers against NumPy loops", "≤ 1e-12 of the largest margin; 100 problems × 1,000 steps")
def optimizers():
    descent = tests("test_descent")
    worst = {kind: max(descent.against_the_loop(kind)[0]) for kind in descent.OPTIMIZERS}
    words = ", ".join(f"{kind} {error:.1e}" for kind, error in worst.items())
    return Found(words, max(worst.values()) <= 1e-12)


def far(dtype, steps):
    """The margin of one token after ``steps`` steps of rate 1 from zero."""
    task = am.AssociationTask(
        jnp.ones(1, dtype), jnp.array([0]), jnp.ones((1, 1), dtype) / np.sqrt(2), jnp.eye(2, dtype=dtype)
    )
    descent = am.Descent(optax.sgd(1.0), steps)
    watch = {"margins": am.margins}
    run = am.simulate(task, am.LinearMemory.zeros(task), descent, observe=watch, at=[steps])
    return float(run.observed["margins"][-1, 0])


@row("float32 against float64", "relative difference ≤ 1e-6 after 10⁸ steps")
def precisions():
    double = far(jnp.float64, 10**8)
    with single():
        difference = abs(far(jnp.float32, 10**8) / double - 1)
    return Found(f"{difference:.1e}", difference <= 1e-6)


@row("samplers", "χ² p > 1e-4 at 5·10⁶ draws; a bias of 1 % is seen, p < 1e-6")
def samplers():
    p, targets, inputs, outputs, _ = helpers.random_problem(61, n=6, m=4, soft=True)
    task = am.AssociationTask(p, targets, inputs, outputs)
    x, y = (np.asarray(v) for v in jax.jit(lambda k: task.sample(k, 5_000_000))(jax.random.key(5)))
    counts = np.zeros((6, 4))
    np.add.at(counts, (x, y), 1)

    def chance(law):
        expected = counts.sum() * law
        return float(stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), counts.size - 1))

    joint = p[:, None] * targets
    fair, biased = chance(joint), chance(0.99 * joint + 0.01 / joint.size)
    return Found(f"p = {fair:.2g}; biased p = {biased:.1g}", fair > 1e-4 and biased < 1e-6)


# --- Sweeps ---------------------------------------------------------------------------------------


@row("bits of a sweep", "one SHA-256, whatever the boxes, the order, the store, a stop in the middle")
def bits():
    axes = dict(learning_rate=np.geomspace(0.1, 10, 60), alpha=np.linspace(0.5, 1, 50))
    go = functools.partial(am.sweep, swept.trained, **axes, tile=64)
    found = []

    def note(data):
        found.append(hashlib.sha256(data.loss.values.tobytes() + data.status.values.tobytes()).hexdigest())

    def stopping(learning_rate, alpha):
        if learning_rate[0] > 1:
            raise KeyboardInterrupt
        return learning_rate

    note(go())
    for chunk in (7, 100, 3000):
        note(go(chunk=chunk))
    note(go(predict=lambda learning_rate, alpha: -alpha))
    with folder() as place:
        note(go(store=place / "stored", chunk=200))
        with contextlib.suppress(KeyboardInterrupt):
            go(store=place / "stopped", chunk=200, predict=stopping)
        note(go(store=place / "stopped", chunk=200))
    return Found(f"{len(set(found))} hash of {len(found)} variants", len(set(found)) == 1)


@row("kills", "10 of 10 sweeps killed (SIGKILL) go on to the same bytes, none of the finished tasks again")
def kills():
    with folder() as place, contextlib.redirect_stdout(io.StringIO()):
        killed.here(place / "whole")
        whole = killed.fingerprint(place / "whole")
        least = np.random.default_rng(10).integers(1, 20, 10)
        ends = [killed.killed_and_resumed(place / str(k), whole, int(n)) for k, n in enumerate(least)]
    during = sum(1 <= before < 24 for before, _ in ends)
    return Found(f"{sum(sound for _, sound in ends)} of 10, {during} of them in the middle",
                 all(sound for _, sound in ends) and during >= 5)  # fmt: skip


@row("damages of a store", "170 of 170 named, alone: 100 flips of a bit, 50 cuts, 20 deletions")
def damages():
    store = tests("test_store")
    with folder() as place:
        store.go(store=place / "s")
        kinds = [("flip", 100), ("truncate", 50), ("delete", 20)]
        return of(sum(store.named_alone(place / "s", *kind) for kind in kinds), 170, "named, alone")


# --- Doors ----------------------------------------------------------------------------------------


@row("malformed configs", "the line that was foreseen, for each of at least 60 written by hand")
def configs():
    faults, sound = tests("test_config").FAULTS, 0
    with folder() as place:
        for text, old, new, line in faults:
            path = place / "c.toml"
            path.write_text(text.replace(old, new, 1), encoding="utf-8")
            try:
                load(path)
            except ConfigError as fault:
                sound += f"{path}:{line}" in fault.lines and not any("\n" in found for found in fault.lines)
    return Found(f"{sound} of {len(faults)}", sound == len(faults) >= 60)


@row("mutated configs", "1,000 of 1,000 taken, or refused in lines of at most 300 characters, exit code 2")
def mutated():
    fuzz, sound = tests("test_fuzz"), 0
    with folder() as place:
        for path in fuzz.drawn(1000, place, fuzz.SEED):
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.suppress(Exception):
                code = reported(lambda path=path: str(load(path))[:0])
                sound += fuzz.faults_of(code, said.getvalue()) is None
    return of(sound, 1000, "sound")


@row("malformed calls", "all refused in one line, or sound")
def calls():
    done = subprocess.run(
        [sys.executable, HERE / "engine" / "malformed.py"], capture_output=True, text=True, check=False
    )
    return Found((done.stdout.splitlines() or ["ended without a word"])[-1], done.returncode == 0)


@row("what memory cannot hold", "refused before it runs, with its size and what to change")
def memory():
    room, sound, free = tests("test_room"), 0, machine.free
    machine.free = lambda device=None: room.GIB
    try:
        for call, said in room.LARGE.values():
            try:
                call()
            except (MemoryError, ValueError) as fault:
                sound += said in str(fault)
    finally:
        machine.free = free
    return of(sound, len(room.LARGE), "refused")


# --- Of the tests ---------------------------------------------------------------------------------


@row("planted faults", "every one caught by the tests it names", long="faults")
def planted(kept):
    return of(kept["planted"] - len(kept["missed"]), kept["planted"], "caught")


@row("random mutants", "at least 95 % of 100 caught, over all rooms and wings", long="mutants")
def mutants(kept):
    words = f"{kept['caught']} of {kept['real']}; {kept['drawn']} drawn, seed {kept['seed']}"
    return Found(words, kept["drawn"] >= 100 and kept["caught"] >= 0.95 * kept["real"])


@row("closed forms against mpmath", "λ(y) to 1e-15 on −800 … 10³⁰⁰")
def special():
    import mpmath

    ys = np.concatenate([np.linspace(-800, 10, 60), np.logspace(-12, 300, 60)])
    worst = 0.0
    for y, m in zip(ys, np.asarray(theory.lam(ys))):
        with mpmath.workdps(400):
            x = mpmath.mpf(float(m))
            # One step of Newton's method from what was found: e^x + x = y.
            step = (mpmath.exp(x) + x - mpmath.mpf(float(y))) / (mpmath.exp(x) + 1)
        worst = max(worst, abs(float(step)) / max(1.0, abs(float(m))))
    return Found(f"{worst:.1e}", worst <= 1e-15)
