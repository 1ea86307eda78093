"""A loss of your own: the focal loss (Lin et al. 2017), beside those that are ready.

python examples/own_loss.py
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

import assocmem_jax as am


class Focal(eqx.Module):
    """ℓ = −(1 − p_y)^γ log p_y: γ = 0 is the cross-entropy. γ is data: batched, differentiated."""

    gamma: float | jax.Array

    def __call__(self, scores, target):
        log_p = jnp.dot(jax.nn.log_softmax(scores), target)
        return -((1 - jnp.exp(log_p)) ** self.gamma) * log_p


def trained(loss):
    """24 tokens of a Zipf law in 12 dimensions, 300 steps of rate 1: error, least margin, sharpness."""
    keys = jr.split(jr.key(0))
    inputs, outputs = (am.embeddings.sphere(key, 24, 12) for key in keys)
    task = am.AssociationTask(am.laws.zipf(24), jnp.arange(24), inputs, outputs, loss=loss)
    descent = am.Descent(optax.sgd, 300, learning_rate=1.0)
    memory = am.simulate(task, am.LinearMemory.zeros(task), descent, observe={}, throw=False).model
    return am.error(task, memory), jnp.min(am.margins(task, memory)), am.sharpness(task, memory)


def main():
    for loss in (am.cross_entropy, am.losses.squared, am.losses.hinge, am.losses.LabelSmoothed(0.1)):
        name = getattr(loss, "__name__", "label-smoothed")
        print("{:14} error {:.3f}, least margin {:+.2f}, sharpness {:.4f}".format(name, *trained(loss)))
    gammas = jnp.array([0.0, 1.0, 2.0])  # one program for all
    errors, margins, tops = jax.jit(jax.vmap(lambda gamma: trained(Focal(gamma))))(gammas)
    for row in zip(gammas, errors, margins, tops):
        print("focal, γ = {:.0f}   error {:.3f}, least margin {:+.2f}, sharpness {:.4f}".format(*row))
    slope = jax.jit(jax.grad(lambda gamma: trained(Focal(gamma))[1]))(1.0)
    print(f"d(least margin)/dγ at γ = 1: {slope:+.3f}")


if __name__ == "__main__":
    main()
