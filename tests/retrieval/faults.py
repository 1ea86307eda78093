"""Planted faults of this part: see tests/faults.py."""

# name: (file, the right code, the fault, tests that must catch it)
FAULTS = {
    "a slope of fewer than three points": ("studies/kit.py", "    return through(x, size, np", "    return power_law(x, size, np", "retrieval/test_studies.py -k dense_memories"),
    "Hebb without 1/d": ("systems/retrieval/model.py", "weight = patterns.T @ patterns / patterns.shape[1]", "weight = patterns.T @ patterns", "retrieval/test_energy.py -k loops"),
    "the diagonal of Hebb left in": ("systems/retrieval/model.py", "return cls(weight - jnp.diag(jnp.diagonal(weight)), steps, asynchronous)", "return eqx.tree_at(lambda m: m.weight, cls(0 * weight, steps, asynchronous), weight)", "retrieval/test_energy.py -k 'loops or bit_error'"),
    "energy of the wrong sign": ("systems/retrieval/model.py", "return -jnp.dot(state, self.weight @ state) / 2", "return jnp.dot(state, self.weight @ state) / 2", "retrieval/test_energy.py -k 'loops or never'"),
    "flips that see the old state": ("systems/retrieval/model.py", "return states.at[:, i].set(_kept_sign(states @ self.weight[:, i], bit))", "return states.at[:, i].set(_kept_sign(jnp.where(jnp.arange(states.shape[1]) == i - 1, -states, states) @ self.weight[:, i], bit))", "retrieval/test_energy.py -k never"),
    "only the bits that agree": ("systems/retrieval/model.py", "lean = jnp.sum(fall - rise, axis=1, keepdims=True)", "lean = 0 * jnp.sum(fall - rise, axis=1, keepdims=True)", "retrieval/test_energy.py -k compare_two"),
    "attention without its temperature": ("systems/retrieval/model.py", "return jnp.dot(state, state) / 2 - total / self.beta", "return jnp.dot(state, state) / 2 - total", "retrieval/test_energy.py -k attention_is"),
    "patterns that are not stored, stored": ("systems/retrieval/model.py", "total = jax.nn.logsumexp(self.beta * (self.patterns @ state), b=self.weights)", "total = jax.nn.logsumexp(self.beta * (self.patterns @ state))", "retrieval/test_energy.py -k 'attention_is or alone'"),
    "recalled by the sign of one bit": ("systems/retrieval/task.py", "return self.radius - norm(model.scores(self) - self.patterns, axis=1)", "return self.radius - jnp.abs(model.scores(self) - self.patterns)[:, 0]", "retrieval/test_energy.py -k reads_off"),
    "a tie counted as a wrong bit": ("systems/retrieval/theory.py", "h = d + 1 - jnp.mod", "h = d - 1 + jnp.mod", "retrieval/test_energy.py -k bit_error"),
    "retrieval: no bit is wrong where one sum is": ("systems/retrieval/theory.py", "(d - 1) >= h, tail", "(d - 1) > h, tail", "retrieval/test_energy.py -k bit_error"),
    "retrieval: overlaps below nothing": ("systems/retrieval/model.py", "where=stored, initial=-1)", "where=stored, initial=0)", "engine/test_precision.py -k opposite"),
    "images: signs about another level": ("systems/retrieval/model.py", "(known.min() + known.max()) / 2", "(known.min() + known.max()) - 2", "retrieval/test_energy.py -k about_the_middle"),
}  # fmt: skip
