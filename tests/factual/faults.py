"""Planted faults of this part: see tests/faults.py."""

FAULTS = {}

# What a transformer holds.
FAULTS |= {
    "attention read at the first token": ("systems/factual/model/transformer.py", 'query = jnp.einsum("hed,d->he", self.query, self.embedding[-1])', 'query = jnp.einsum("hed,d->he", self.query, self.embedding[0])', "factual/test_transformer.py -k another_implementation"),
    "an MLP in place of attention": ("systems/factual/model/transformer.py", "hidden = hidden + self.activation(drive) @ self.outer", "hidden = self.activation(drive) @ self.outer", "factual/test_transformer.py -k another_implementation"),
    "attention that halves what is written": ("systems/factual/model/transformer.py", "jnp.linalg.svd(2 * answers @", "jnp.linalg.svd(answers @", "factual/test_transformer.py -k 'two_and or first'"),
    "relations that point nowhere": ("systems/factual/model/transformer.py", "of_relation = jnp.repeat(jnp.eye(R, dtype=task.dtype), task.answers, axis=1)", "of_relation = jnp.zeros((R, task.num_answers), task.dtype)", "factual/test_transformer.py -k 'two_and or first'"),
    "facts never asked for written all the same": ("systems/factual/model/transformer.py", "return jnp.zeros(task.num_tokens, task.dtype).at[: len(known)].set(known)", "return jnp.zeros(task.num_tokens, task.dtype).at[: len(known)].set(1)", "factual/test_transformer.py -k first"),
    "pairs longer than what attention hands over": ("systems/factual/model/transformer.py", "pairs = (E[:S, None] + E[None, S : S + R]) / 2**0.5", "pairs = E[:S, None] + E[None, S : S + R]", "factual/test_transformer.py -k two_and"),
    "singular values on one side only": ("systems/factual/model/transformer.py", "for w in (root * right, root * left.T))", "for w in (right, root * left.T))", "factual/test_transformer.py -k two_and"),
    "the first facts under the old law": ("systems/factual/task.py", "kept_laws.append(law / law.sum())", "kept_laws.append(law)", "factual/test_transformer.py -k first"),
    "balanced facts counted as any": ("systems/factual/task.py", "return information.recalled(jnp.trace(tables), n,", "return information.recalled(information.maps(n, self.answers), n,", "factual/test_transformer.py -k two_and"),
}  # fmt: skip
