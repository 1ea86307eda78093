"""Planted faults of this part: see tests/faults.py."""

# name: (file, the right code, the fault, tests that must catch it)
FAULTS = {
    "row: lemma 5 without its second half": ("systems/induction/theory/first_steps.py", "contrast = readout - readout.mean(axis=1, keepdims=True)", "contrast = readout", "engine/test_statements.py -k test_row[birth.29b]"),
    "row: kappa as printed": ("systems/induction/theory/first_steps.py", "return tokens / (tokens - 1) * inner", "return 1.0", "engine/test_statements.py -k test_row[birth.30]"),
    "an output drawn where a trigger is": ("systems/induction/task/sampling.py", "token = jnp.where(jnp.any(match, axis=1), forced, free)", "token = jnp.where(jnp.any(match[:, :1], axis=1), forced, free)", "induction/test_bigram.py -k follow_the_law"),
    "thresholds shifted": ("systems/induction/task/sampling.py", "return jnp.sum(drawn[..., None] >= cuts, axis=-1, dtype=jnp.int32)", "return jnp.sum(drawn[..., None] > cuts // 512 * 512, axis=-1, dtype=jnp.int32) if cuts.ndim > 9 else jnp.sum(drawn[..., None] >= cuts + cuts // 256, axis=-1, dtype=jnp.int32)", "induction/test_bigram.py -k 'follow_the_law or real_table'"),
    "triggers drawn uniformly": ("systems/induction/task/sampling.py", "race = jnp.log(unigram)[None] + jr.gumbel", "race = jnp.where(unigram > 0, 0.0, -jnp.inf)[None] + jr.gumbel", "induction/test_bigram.py -k follow_the_law"),
    "a loss position dropped": ("systems/induction/task/bigram.py", "at = jnp.sum(before[:, None, :] <= jnp.arange(size)[:, None], axis=2, dtype=jnp.int32)", "at = jnp.sum(before[:, None, :] <= jnp.arange(1, size + 1)[:, None], axis=2, dtype=jnp.int32)", "induction/test_bigram.py -k against_a_loop"),
    "a packed size too small": ("systems/induction/task/bigram.py", "branch = jnp.searchsorted(jnp.array(sizes, jnp.int32), fullest)", "branch = jnp.maximum(jnp.searchsorted(jnp.array(sizes, jnp.int32), fullest) - 1, 0)", "induction/test_bigram.py -k 'against_a_loop or lanes'"),
    "the packed size of one lane only": ("systems/induction/task/bigram.py", "return _shared_max(jnp.max(count)), False", "return _shared_max(jnp.min(count)), False", "induction/test_bigram.py -k lanes"),
    "mean of means over chunks": ("systems/induction/task/bigram.py", "return total / jnp.maximum(count, 1) +", "return total / jnp.maximum(n, 1) +", "induction/test_bigram.py -k against_a_loop"),
    "packed queries that see ahead": ("systems/induction/model/transformer.py", "seen = jnp.arange(state.shape[1]) <= at[..., None]", "seen = jnp.arange(state.shape[1]) <= at[..., None] + 1", "induction/test_induction.py -k forward"),
    "positions left out of layer-1 queries": ("systems/induction/model/transformer.py", "(self.positions @ key)[places]", "0 * (self.positions @ key)[places]", "induction/test_induction.py -k forward"),
    "W_F without the stream": ("systems/induction/model/transformer.py", "self.unembedding + self.unembedding @ self.feedforward", "self.unembedding @ self.feedforward", "induction/test_induction.py -k forward"),
    "keys remapped twice in the probe": ("systems/induction/observe/head.py", "remapped = E @ model.phi1.T if model.key1 is not None else E", "remapped = E @ model.phi1.T @ model.phi1.T if model.key1 is not None else E", "induction/test_induction.py -k probes"),
    "all tokens counted as triggers": ("systems/induction/task/bigram.py", "return jnp.zeros(self.num_tokens, bool).at[self.fixed_triggers].set(True)", "return self.unigram >= 0", "induction/test_induction.py -k probes"),
    "first occurrences in the in-context loss": ("systems/induction/task/sampling.py", "return self.occurrence >= 2", "return self.occurrence >= 1", "induction/test_bigram.py -k against_a_loop"),
    "noise once for a sequence": ("systems/induction/task/sampling.py", "noisy = (coins < noise_cut).T", "noisy = jnp.broadcast_to((coins[:, :1] < noise_cut).T, drawn.shape)", "induction/test_context.py -k law_of_noise"),
    "an answer that nobody has said yet": ("systems/induction/task/sampling.py", "return jnp.any(said & (before > 0), axis=2)", "return jnp.any(said, axis=2)", "induction/test_context.py -k law_of_noise"),
    "another stream without noise": ("systems/induction/task/sampling.py", "bits = jr.bits(token_key,", "bits = jr.bits(jr.fold_in(token_key, 0),", "induction/test_context.py -k streams_without_noise"),
    "the loss on noise from the first trigger on": ("systems/induction/observe/answers.py", "at = task.data.in_context & (", "at = (task.data.occurrence >= 1) & (", "induction/test_context.py -k observables_of_noise"),
    "values that do not share the other tokens": ("systems/induction/model/copy.py", "(v + jnp.sum(v) / (task.tokens - 1)) / task.tokens", "v / task.tokens", "induction/test_context.py -k full_flow"),
    "a feed-forward against nothing": ("systems/induction/model/copy.py", "(1 + 1 / task.tokens) * f", "f", "induction/test_context.py -k full_flow"),
    "overtaking without the lag of noise": ("systems/induction/theory/context.py", " - r - jnp.log(r)) / (1 - sound)", ") / (1 - sound)", "induction/test_context.py -k answer_overtakes"),
    "overtaking at the end of a step": ("systems/induction/dynamics.py", "for _ in range(3):", "for _ in range(0):", "induction/test_context.py -k answer_overtakes"),
    "ties said to be noise": ("systems/induction/theory/context.py", "jnp.where(i < (n - m)[:, None], poisson, 0)", "jnp.where(i <= (n - m)[:, None], poisson, 0)", "induction/test_context.py -k samples_of_one_step"),
}  # fmt: skip
