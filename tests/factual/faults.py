"""Planted faults of this part: see tests/faults.py."""

# name: (file, the right code, the fault, tests that must catch it)
FAULTS = {
    "facts: relation on the subject's place": ("systems/factual/task.py", "place = place + (place >= other)", "pass", "factual/test_factual.py -k law_of_texts"),
    "facts: noise digits repeat": ("tasks/laws.py", "        words = words // jnp.uint32(size)\n", "", "factual/test_factual.py -k law_of_texts"),
    "facts: answers not shuffled": ("systems/factual/task.py", "column = jnp.arange(rows) % answers\n", "column = jnp.arange(rows) // answers % answers\n", "factual/test_factual.py -k test_facts"),
    "facts: multisets equally likely": ("systems/factual/task.py", "chances = np.array(ways) / max(form.noise, 1) ** count", "chances = np.ones(sets) / sets", "factual/test_factual.py -k population_loss"),
    "facts: subject loss over all answers": ("systems/factual/observe.py", "return jnp.dot(task.weights, cross_entropy(own, place))", "return task.loss(model)", "factual/test_factual.py -k population_loss"),
    "facts: a token counts once": ("systems/factual/model/linear.py", ".at[rows, tokens].add(1)", ".at[rows, tokens].set(1)", "factual/test_factual.py -k gradient_of_a_batch"),
    "facts: subjects move as fast as relations": ("systems/factual/model/system.py", "rates = 1 / S, D / (S * R * max(D - 1, 1)),", "rates = 1 / S, 1 / (D * max(R - 1, 1)),", "factual/test_factual.py -k descent_closes"),
    "facts: a mention counts once": ("systems/factual/model/system.py", "jnp.where(ours, one * self.subject_margin, 0)", "jnp.where(ours, self.subject_margin, 0)", "engine/test_statements.py -k test_row[facts.reduced]"),
    "facts: balance of the reduced system without 1/D": ("systems/factual/observe.py", "R * (1 - 1 / D) * model.subject_gap**2", "R * model.subject_gap**2", "factual/test_factual.py -k full_flow"),
    "facts: half the angle": ("systems/factual/theory.py", "return (w + integral / half.classes) / (2 * escape_rate(half))", "return (w + integral / half.classes) / escape_rate(half)", "factual/test_factual.py -k times_are_those"),
    "facts: the quadrature stops short": ("systems/factual/theory.py", "leggauss(40)", "leggauss(20)", "factual/test_factual.py -k times_are_those"),
    "facts: order by S and R alone": ("systems/factual/theory.py", "return S**2 * (R - 1) - R**2 * (D - 1)", "return S**2 * (R - 1) - R**2 * (R - 1)", "engine/test_statements.py -k test_row[facts.order]"),
    "facts: mentions squared": ("systems/factual/theory.py", "unit = half.mentions / (2", "unit = half.mentions**2 / (2", "engine/test_statements.py -k test_row[facts.mentions]"),
}  # fmt: skip

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
    "a plateau named by the half that is learned": ("systems/factual/studies/hallucination.py", 'if due["relation"] < due["subject"] else', 'if due["relation"] > due["subject"] else', "factual/test_studies.py -k named_by"),
}  # fmt: skip
