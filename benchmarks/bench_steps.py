"""Steps that are bound by products, beside the same by hand: an attention memory, SGD on 50,000 tokens.
float32.

A step down the energy of an `AttentionMemory` (d = 256, n = 64, 32 states at once), 100 of them in a loop;
a step of SGD on 256 of N = 50,000 tokens, d = 768, with `observe={}`, from five more of them in a run.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import optax

import assocmem_jax as am
import machine
from machine import figure

jax.config.update("jax_enable_x64", False)
TOKENS, WIDTH, BATCH = 50_000, 768, 256


def times(ours, by_hand, repeats):
    """Median seconds of two functions of nothing, one after the other so that both meet the same machine."""
    found = [], []
    for _ in range(repeats):
        for function, kept in zip((ours, by_hand), found):
            kept.append(machine.seconds(function, repeats=1)[0])
    return [sorted(kept)[repeats // 2] for kept in found]


def energy():
    patterns, states = jr.normal(jr.key(0), (64, 256)) / 16, jr.normal(jr.key(1), (32, 256))
    memory = am.retrieval.AttentionMemory(patterns, jnp.ones(64), 10.0)

    def hand(q):
        return jax.nn.softmax(10.0 * q @ patterns.T, -1) @ patterns

    loops = [
        jax.jit(lambda q, step=step: jax.lax.fori_loop(0, 100, lambda _, q: step(q), q))
        for step in (memory.update, hand)
    ]
    assert jnp.allclose(memory.update(states), hand(states), atol=1e-5)
    ours, theirs = times(*(lambda f=loop: f(states) for loop in loops), 15)
    return ours / 100, theirs / 100


def large():
    keys = jr.split(jr.key(0), 3)
    inputs, outputs = (am.embeddings.sphere(key, TOKENS, WIDTH) for key in keys[:2])
    task = am.AssociationTask(am.laws.zipf(TOKENS), jnp.arange(TOKENS), inputs, outputs)
    drawn = jr.randint(keys[2], (6, BATCH), 0, TOKENS)

    def ours(steps):
        descent = am.Descent(optax.sgd, steps, BATCH, learning_rate=1.0)
        start = am.LinearMemory.zeros(task)
        return am.simulate(task, start, descent, observe={}, every=steps, key=jr.key(1)).model.weight

    @jax.jit
    def by_hand(chosen, inputs, outputs):
        def step(W, i):
            e = inputs[i]
            slope = jax.nn.softmax(e @ W.T @ outputs.T, -1).at[jnp.arange(BATCH), i].add(-1) / BATCH
            return W - (slope @ outputs).T @ e, None

        return jax.lax.scan(step, jnp.zeros((WIDTH, WIDTH)), chosen)[0]

    six = times(lambda: ours(6), lambda: by_hand(drawn, inputs, outputs), 3)
    one = times(lambda: ours(1), lambda: by_hand(drawn[:1], inputs, outputs), 3)
    return [(long - short) / 5 for long, short in zip(six, one)]


def main():
    for what, (ours, theirs) in (
        ("a step down the energy of an `AttentionMemory`", energy()),
        (f"a step of SGD on {BATCH} of {TOKENS:,} tokens, d = {WIDTH}", large()),
    ):
        machine.note(what, figure(ours, "s"), f"by hand {figure(theirs, 's')}", theirs / ours)


if __name__ == "__main__":
    machine.run(main)
