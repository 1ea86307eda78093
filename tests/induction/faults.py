"""Planted faults of this part: see tests/faults.py."""

# name: (file, the right code, the fault, tests that must catch it)
FAULTS = {
    "row: lemma 5 without its second half": ("systems/induction/theory.py", "contrast = readout - readout.mean(axis=1, keepdims=True)", "contrast = readout", "engine/test_statements.py -k test_row[birth.29b]"),
    "row: kappa as printed": ("systems/induction/theory.py", "return tokens / (tokens - 1) * inner", "return 1.0", "engine/test_statements.py -k test_row[birth.30]"),
    "an output drawn where a trigger is": ("systems/induction/task.py", "token = jnp.where(jnp.any(match, axis=1), forced, free)", "token = jnp.where(jnp.any(match[:, :1], axis=1), forced, free)", "induction/test_bigram.py -k follow_the_law"),
    "thresholds shifted": ("systems/induction/task.py", "return jnp.sum(drawn[..., None] >= cuts, axis=-1, dtype=jnp.int32)", "return jnp.sum(drawn[..., None] > cuts // 512 * 512, axis=-1, dtype=jnp.int32) if cuts.ndim > 9 else jnp.sum(drawn[..., None] >= cuts + cuts // 256, axis=-1, dtype=jnp.int32)", "induction/test_bigram.py -k 'follow_the_law or real_table'"),
    "triggers drawn uniformly": ("systems/induction/task.py", "race = jnp.log(unigram)[None] + jr.gumbel", "race = jnp.where(unigram > 0, 0.0, -jnp.inf)[None] + jr.gumbel", "induction/test_bigram.py -k follow_the_law"),
    "a loss position dropped": ("systems/induction/task.py", "at = jnp.sum(before[:, None, :] <= jnp.arange(size)[:, None], axis=2, dtype=jnp.int32)", "at = jnp.sum(before[:, None, :] <= jnp.arange(1, size + 1)[:, None], axis=2, dtype=jnp.int32)", "induction/test_bigram.py -k against_a_loop"),
    "a packed size too small": ("systems/induction/task.py", "branch = jnp.searchsorted(jnp.array(sizes, jnp.int32), fullest)", "branch = jnp.maximum(jnp.searchsorted(jnp.array(sizes, jnp.int32), fullest) - 1, 0)", "induction/test_bigram.py -k 'against_a_loop or lanes'"),
    "the packed size of one lane only": ("systems/induction/task.py", "return _shared_max(jnp.max(count)), False", "return _shared_max(jnp.min(count)), False", "induction/test_bigram.py -k lanes"),
    "mean of means over chunks": ("systems/induction/task.py", "return total / jnp.maximum(count, 1) +", "return total / jnp.maximum(n, 1) +", "induction/test_bigram.py -k against_a_loop"),
    "packed queries that see ahead": ("systems/induction/model.py", "seen = jnp.arange(state.shape[1]) <= at[..., None]", "seen = jnp.arange(state.shape[1]) <= at[..., None] + 1", "induction/test_induction.py -k forward"),
    "positions left out of layer-1 queries": ("systems/induction/model.py", "(self.positions @ key)[places]", "0 * (self.positions @ key)[places]", "induction/test_induction.py -k forward"),
    "W_F without the stream": ("systems/induction/model.py", "self.unembedding + self.unembedding @ self.feedforward", "self.unembedding @ self.feedforward", "induction/test_induction.py -k forward"),
    "keys remapped twice in the probe": ("systems/induction/observe.py", "remapped = E @ model.phi1.T if model.key1 is not None else E", "remapped = E @ model.phi1.T @ model.phi1.T if model.key1 is not None else E", "induction/test_induction.py -k probes"),
    "all tokens counted as triggers": ("systems/induction/task.py", "return jnp.zeros(self.num_tokens, bool).at[self.fixed_triggers].set(True)", "return self.unigram >= 0", "induction/test_induction.py -k probes"),
    "first occurrences in the in-context loss": ("systems/induction/task.py", "return self.occurrence >= 2", "return self.occurrence >= 1", "induction/test_bigram.py -k against_a_loop"),
    "momentum that forgets the decay": ("systems/induction/studies/formation.py", "optax.add_decayed_weights(weight_decay)", "optax.add_decayed_weights(0 * weight_decay)", "induction/test_birth_loop.py -k our_steps"),
    "scores of layer 1 not scaled": ("systems/induction/model.py", "key = self._scale * self.key1", "key = self.key1", "induction/test_birth_loop.py -k our_steps"),
    "rotations that do not turn with the position": ("models/transformer.py", "even * cos - odd * sin, even * sin + odd * cos", "even * cos - odd * sin, even * sin - odd * cos", "induction/test_heads.py -k rotary"),
    "one frequency for all pairs": ("models/transformer.py", "(-np.arange(0, width, 2) / width)", "(-np.arange(0, width, 2) / (2 * width))", "induction/test_heads.py -k 'sinusoidal or loops'"),
    "tied without its scale": ("models/transformer.py", "self.embedding.T / np.sqrt(self.embedding.shape[1])", "self.embedding.T", "induction/test_heads.py -k tie"),
    "a patch in the first layer only": ("models/transformer.py", "if below + head in maps:", "if below == 0 and head in maps:", "induction/test_heads.py -k patching"),
    "an ablated head that still attends": ("systems/induction/model.py", "jnp.zeros((1, 1))", "jnp.ones((1, 1))", "induction/test_heads.py -k patching"),
    "a patch of a patch that forgets the first": ("systems/induction/model.py", "{**told, **maps}", "dict(maps)", "induction/test_heads.py -k patching"),
    "where head and bigram agree counted": ("systems/induction/observe.py", "told_apart = data.in_context & (data.targets != _likeliest(task))", "told_apart = data.in_context", "induction/test_heads.py -k follow"),
}  # fmt: skip
