"""What the examples sweep: an ordinary function in an ordinary module, so that any worker can import it."""

import jax

import assocmem_jax as am


def steps_to_perfect(learning_rate, alpha, imbalance):
    task = am.two_tokens(alpha, jax.nn.sigmoid(imbalance))
    return am.time_to_perfect(task, learning_rate, steps=1000)
