"""Checkpoints: whole or not at all, refused in one line, resumed to the same bits."""

import hashlib
import json
import os
import re

import jax
import jax.core
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am

TASK = am.BigramTask(np.ones(4) / 4, np.ones((4, 4)) / 4, length=5, triggers=1, data=4)


def segment(previous, steps):
    """Two lanes of momentum descent on fresh batches."""

    def one(key, previous):
        model = am.InductionTransformer.gaussian(TASK, key, 3)
        descent = am.Descent(optax.adam, steps, 4, learning_rate=0.1)
        return am.simulate(
            TASK, model, descent, observe={"loss": am.loss}, every=min(2, max(1, steps)), key=key,
            resumable=True, resume=previous, throw=False,
        )  # fmt: skip

    keys = jr.split(jr.key(0), 2)
    return jax.vmap(one, in_axes=(0, None if previous is None else 0))(keys, previous)


SEGMENT = jax.jit(segment, static_argnums=1)


def digest(tree):
    return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree))).hexdigest()


@pytest.mark.thorough
def test_resumed_to_the_same_bits(tmp_path):
    """Stopped after each segment, as a kill would: one hash."""
    whole = am.in_segments(SEGMENT, 12, 4)
    path = tmp_path / "run.ckpt"

    class Stop(Exception):
        pass

    calls = []

    def stopping(previous, steps):
        if previous is None or not isinstance(previous.status, jax.core.Tracer):  # it is run
            calls.append(steps)
        if steps and sum(1 for s in calls if s) > stopping.allowed:
            raise Stop
        return SEGMENT(previous, steps)

    for allowed in (1, 1, 1):
        calls.clear()
        stopping.allowed = allowed
        try:
            resumed = am.in_segments(stopping, 12, 4, path=path, about={"seed": 0})
        except Stop:
            continue
    assert digest(resumed) == digest(whole)
    assert [p.name for p in tmp_path.iterdir()] == ["run.ckpt"]
    assert whole.observed["loss"].shape == (2, 7)
    assert whole.steps[0].tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert whole.num_steps.tolist() == [12, 12]
    # A finished run is read, not run.
    calls.clear()
    assert digest(am.in_segments(stopping, 12, 4, path=path, about={"seed": 0})) == digest(whole)
    assert sum(calls) == 0


def test_a_resumed_run_is_the_run(tmp_path):
    """Without vmap, through simulate alone: steps, times and until go on."""
    task = am.two_tokens(0.9, 0.7)
    go = lambda steps, resume=None: am.simulate(  # noqa: E731
        task, am.LinearMemory.zeros(task), am.Descent(optax.sgd(1.0, momentum=0.5), steps), resumable=True,
        resume=resume, until=am.perfect_accuracy(hold=None),
    )  # fmt: skip
    whole, first = go(40), go(25)
    rest = go(15, first)
    np.testing.assert_allclose(rest.observed["loss"], whole.observed["loss"][25:], atol=1e-15)
    np.testing.assert_allclose(rest.times, whole.times[25:], atol=1e-12)
    assert rest.steps.tolist() == whole.steps[25:].tolist()
    assert int(rest.first_step) == int(whole.first_step) > 0
    assert int(rest.stable_step) == int(whole.stable_step)


TREE = {"a": jnp.arange(6.0).reshape(2, 3), "b": (jnp.ones(2, jnp.float32), jnp.array(3)), "key": jr.key(7)}


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "tree.ckpt"
    am.save(path, TREE, note="kept")
    found = am.load(path, jax.eval_shape(lambda: TREE))
    assert jr.key_data(found["key"]).tolist() == jr.key_data(TREE["key"]).tolist()
    for a, b in zip(jax.tree.leaves(found)[:3], jax.tree.leaves(TREE)[:3]):
        assert a.dtype == b.dtype
        assert (a == b).all()
    assert json.loads(path.read_bytes().split(b"\n", 2)[1])["about"] == {"note": "kept"}


def sealed(rest):
    """A file whose checksum is right, whatever is in it."""
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg", "threefry2x32"])
def test_keys_of_any_kind(tmp_path, kind):
    tree = {"key": jr.split(jr.key(3, impl=kind), 2)}
    am.save(tmp_path / "k", tree)
    for like in (tree, jax.eval_shape(lambda: tree)):
        found = am.load(tmp_path / "k", like)["key"]
        assert found.dtype == tree["key"].dtype
        assert jr.uniform(found[1]) == jr.uniform(tree["key"][1])


BEGUN = {"optimizer": optax.sgd(0.1), "batch_size": 4, "key": jr.key(0)}
OTHERS = {
    "a rate inside": {"optimizer": optax.sgd(0.2)},
    "a schedule inside": {"optimizer": optax.sgd(optax.linear_schedule(0.1, 0.2, 9))},
    "another schedule": {"optimizer": optax.sgd(optax.linear_schedule(0.1, 0.3, 9))},
    "a key": {"key": jr.key(3)},
    "a batch size": {"batch_size": 5},
}


@pytest.mark.parametrize("jitted", [False, True])
def test_a_run_is_gone_on_from_by_the_same_program_only(tmp_path, jitted):
    """Whatever differs in what a segment computes, where it says so and where it does not."""
    task, path = am.two_tokens(0.5, 0.7), tmp_path / "run.ckpt"

    def run(optimizer, batch_size, key):
        def segment(previous, steps):
            descent = am.Descent(optimizer, steps, batch_size)
            return am.simulate(
                task, am.LinearMemory.zeros(task), descent, every=max(1, steps), key=key, resume=previous,
                resumable=True, throw=not jitted,
            )  # fmt: skip

        return jax.jit(segment, static_argnums=1) if jitted else segment

    am.in_segments(run(**BEGUN), 4, 2, path=path)
    for changed in OTHERS.values():
        with pytest.raises(am.CheckpointError, match=r"is of a run of another (start|dynamics|program)"):
            am.in_segments(run(**BEGUN | changed), 6, 2, path=path)
    # The schedules look alike to each other too.
    other = tmp_path / "other.ckpt"
    am.in_segments(run(**BEGUN | OTHERS["a schedule inside"]), 4, 2, path=other)
    with pytest.raises(am.CheckpointError, match="is of a run of another program"):
        am.in_segments(run(**BEGUN | OTHERS["another schedule"]), 6, 2, path=other)
    assert am.in_segments(run(**BEGUN), 6, 2, path=path).num_steps == 6


def test_a_run_that_looks_at_its_numbers_is_gone_on_from(tmp_path):
    """It has no program to compare."""
    task, path = am.two_tokens(0.5, 0.7), tmp_path / "run.ckpt"

    def segment(previous, steps):
        assert previous is None or float(previous.times[-1]) >= 0
        descent = am.Descent(optax.sgd(0.1), steps)
        return am.simulate(task, am.LinearMemory.zeros(task), descent, resume=previous, resumable=True)

    am.in_segments(segment, 4, 2, path=path)
    assert am.in_segments(segment, 6, 2, path=path).num_steps == 6


def test_a_finished_run_is_not_cut_and_another_rate_is_not_gone_on_from(tmp_path):
    task = am.two_tokens(0.5, 0.7)

    def run(rate):
        def segment(previous, steps):
            descent = am.Descent(optax.sgd, steps, learning_rate=rate)
            start = am.LinearMemory.zeros(task)
            return am.simulate(task, start, descent, resume=previous, resumable=True)

        return segment

    path = tmp_path / "run.ckpt"
    am.in_segments(run(0.1), 4, 2, path=path)
    with pytest.raises(am.CheckpointError, match="holds 4 steps, more than the 2 asked for"):
        am.in_segments(run(0.1), 2, 2, path=path)
    with pytest.raises(am.CheckpointError, match="is of a run of another dynamics"):
        am.in_segments(run(0.2), 6, 2, path=path)
    assert am.in_segments(run(0.1), 6, 2, path=path).num_steps == 6
    # At W = 0 every law of two tokens has the same loss: only the task itself tells one from another.
    task = am.two_tokens(0.5, 0.8)
    with pytest.raises(am.CheckpointError, match="is of a run of another task"):
        am.in_segments(run(0.1), 8, 2, path=path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(am.CheckpointError, match="cannot be read: no regular file"):
        am.load(tmp_path / "pipe", TREE)


@pytest.mark.usefixtures("float32")
def test_what_numpy_holds_in_float32(tmp_path):
    """NumPy's float64 is kept as JAX holds it; what that cannot hold is refused."""
    path, tree = tmp_path / "tree.ckpt", {"a": np.array([1.5, np.nan]), "b": 3.0, "c": np.arange(3)}
    tree["d"] = jnp.array([jnp.nan, 2.0], jnp.bfloat16)
    am.save(path, tree)
    found = am.load(path, tree)
    for name, value in tree.items():
        np.testing.assert_array_equal(np.asarray(found[name], float), np.asarray(value, float))
    for value, dtype in ((1e300, "float32"), (np.array([1, 2**40]), "int32")):
        with pytest.raises(ValueError, match=f"a leaf of tree must be numbers that {dtype} can hold"):
            am.save(path, {"a": value})


def test_faulty_checkpoints(tmp_path):
    """One line each; the file is left as it was."""
    path = tmp_path / "tree.ckpt"
    am.save(path, TREE)
    content = path.read_bytes()
    renamed = {"aa": TREE["a"], "b": TREE["b"], "key": TREE["key"]}
    swapped = {"b": TREE["b"], "c": TREE["a"], "key": TREE["key"]}
    turned = TREE | {"a": TREE["a"].T}
    narrow = TREE | {"a": TREE["a"].astype(jnp.float32)}
    for like, message in [
        (turned, "must hold ['a'] as float64[3, 2], got ['a'] as float64[2, 3]"),
        (narrow, "must hold ['a'] as float32[2, 3], got ['a'] as float64[2, 3]"),
        (renamed, "must hold ['aa'] as float64[2, 3], got ['a'] as float64[2, 3]"),
        (swapped, "must hold ['b'][0] as float32[2], got ['a'] as float64[2, 3]"),
        (TREE | {"z": jnp.ones(1)}, "must hold 5 arrays, got 4"),
    ]:
        with pytest.raises(am.CheckpointError) as fault:
            am.load(path, like)
        assert str(fault.value) == f"{path}: {message}"
    flipped = bytearray(content)
    flipped[-3] ^= 1
    rest = content.split(b"\n", 1)[1]
    size = int(re.search(rb'"bytes": (\d+)', rest)[1])
    short = rest[:-8].replace(b'"bytes": %d' % size, b'"bytes": %d' % (size - 8))
    for damaged, message in [
        (content[:-10], "is cut short"), (content[:5], "is not a checkpoint"), (b"", "is not a checkpoint"),
        (bytes(flipped), "has been altered: its checksum is wrong"), (b"[1]\nx", "is not a checkpoint"),
        (content.replace(b'"about": {}', b'"about":{ }'), "has been altered: its checksum is wrong"),
        (sealed(b"[" * 10**5 + b"\nx"), "is not a checkpoint"),
        (sealed(b'{"format": 1}\nx'), "is not a checkpoint"),
        (sealed(short), f"must hold {size} bytes of arrays, got {size - 8}"),
        (sealed(rest[:-8]), f"is cut short: {size - 8} bytes of {size}"),
        (sealed(rest + b"more"), f"has been altered: {size + 4} bytes of arrays where {size} were written"),
        (sealed(rest.replace(b"[2, 3]", b"[2, 1000000000000]")), "must hold 16000000000"),
        (sealed(rest.replace(b"[2, 3]", b"[2, -3]")), "its header lacks something"),
        (sealed(rest.replace(b'[2, 3], "float64"', b'[2, 3], "float7"')), "its header lacks something"),
        (sealed(rest.replace(b'[2, 3], "float64"', b'[2, 3], "O"')), "its header lacks something"),
        (sealed(rest.replace(b'"leaves": [[', b'"leaves": [1, [')), "its header lacks something"),
        (sealed(rest.replace(b'"leaves"', b'"branches"')), "its header lacks something"),
        (sealed(rest.replace(b'"about": {}', b'"about": 1')), "its header lacks something"),
    ]:  # fmt: skip
        path.write_bytes(damaged)
        with pytest.raises(am.CheckpointError, match=message) as fault:
            am.load(path, TREE)
        assert "\n" not in str(fault.value)
        assert path.read_bytes() == damaged
    with pytest.raises(am.CheckpointError, match="cannot be read: No such file"):
        am.load(tmp_path / "none.ckpt", TREE)


@pytest.mark.thorough
def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path):
    path = tmp_path / "run.ckpt"
    am.in_segments(SEGMENT, 4, 4, path=path, about={"seed": 0})
    before = path.read_bytes()
    with pytest.raises(am.CheckpointError, match="is of another run"):
        am.in_segments(SEGMENT, 8, 4, path=path, about={"seed": 1})
    with pytest.raises(am.CheckpointError, match="is of another run"):
        am.in_segments(SEGMENT, 8, 2, path=path, about={"seed": 0})
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="steps must be a multiple of every = 5, got 12"):
        am.in_segments(SEGMENT, 12, 5)
    with pytest.raises(ValueError, match="resume must be a resumable trajectory, got one without state"):
        am.simulate(TASK, am.InductionTransformer.gaussian(TASK, jr.key(0), 3), am.Descent(optax.sgd(1.0), 1),
                    resume=am.simulate(TASK, am.InductionTransformer.gaussian(TASK, jr.key(0), 3), am.Descent(optax.sgd(1.0), 1)))  # fmt: skip  # noqa: E501
    with pytest.raises(ValueError, match="resume must be for a Descent only, got a GradientFlow"):
        am.simulate(
            am.two_tokens(0.5, 0.7),
            am.LinearMemory.zeros(am.two_tokens(0.5, 0.7)),
            am.GradientFlow(1.0),
            resumable=True,
        )


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "tree.ckpt"
    am.save(path, TREE)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        am.save(path, {"a": jnp.zeros(9)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["tree.ckpt"]


@pytest.mark.soak
@pytest.mark.usefixtures("uncached")
def test_a_killed_study_goes_on_to_the_same_result(tmp_path):
    """`assocmem run`, killed -9 after its first checkpoint and run again: data equal to the last bit."""
    import signal
    import subprocess
    import sys
    import time

    import xarray as xr

    config = "birth_layers"
    few = ("steps=120", "checkpoint_every=20", "length=16", "batch=16", "width=16", "every=10", "seeds=2")
    command = [sys.executable, "-m", "assocmem_jax.cli", "run", str(config)]
    command += [word for item in few for word in ("--set", item)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command, "--out", tmp_path / "whole"], check=True, **quiet)
    process = subprocess.Popen([*command, "--out", tmp_path / "killed"], **quiet)
    while not list(tmp_path.glob(".killed.*/case1.ckpt")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    kept = {p.name: p.read_bytes() for p in tmp_path.glob(".killed.*/case0.ckpt")}
    assert kept
    subprocess.run([*command, "--out", tmp_path / "killed"], check=True, **quiet)
    a, b = (
        xr.open_zarr(tmp_path / name / "data.zarr", consolidated=False, chunks=None).load()
        for name in ("whole", "killed")
    )
    assert all(a[name].values.tobytes() == b[name].values.tobytes() for name in a)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "whole"]
