"""Planted faults of this part: see tests/faults.py."""

# name: (file, the right code, the fault, tests that must catch it)
FAULTS = {
    "cooc: whole scales that JAX does not take": ("systems/cooccurrence/model/transformer.py", "small, large = (jnp.asarray(sigma, task.dtype) for sigma in (small, large))", "pass", "cooccurrence/test_cooccurrence.py -k any_number"),
    "cooc: K without its mixed term": ("systems/cooccurrence/theory.py", "jnp.sqrt(c**2 + 4 * neurons * length * e)", "jnp.sqrt(c**2)", "engine/test_statements.py -k 'cooc.loss'"),
    "cooc: half the speed of one sample": ("systems/cooccurrence/theory.py", "((high - low) / 2)[..., 0] / root", "(high - low)[..., 0] / root", "engine/test_statements.py -k 'cooc.loss'"),
    "cooc: energy that grows half as fast": ("systems/cooccurrence/model/systems.py", "energy = 2 * self.neurons * jnp.dot(self.values, s)", "energy = self.neurons * jnp.dot(self.values, s)", "engine/test_statements.py -k 'cooc.late or cooc.loss'"),
    "cooc: the late law without its logarithm": ("systems/cooccurrence/theory.py", "4 * neurons * bits**2", "4 * neurons", "cooccurrence/test_cooccurrence.py -k late_law"),
    "cooc: heads are averaged": ("systems/cooccurrence/model/heads.py", "return jnp.sum(each(self.head_values, self.head_tables), axis=0)", "return jnp.mean(each(self.head_values, self.head_tables), axis=0)", "cooccurrence/test_cooccurrence.py -k heads_add"),
    "cooc: heads share their attention": ("systems/cooccurrence/model/heads.py", "return jnp.sum(each(self.head_values, self.head_tables), axis=0)", "return output(task, self.values, self.table, self.width, tokens)", "cooccurrence/test_cooccurrence.py -k heads_add"),
    "cooc: step without its second-order term": ("systems/cooccurrence/model/systems.py", "score + forward + backward + left.T @ a,", "score + forward + backward,", "cooccurrence/test_cooccurrence.py -k descent_closes"),
    "cooc: m1 forgotten": ("systems/cooccurrence/model/systems.py", "values = self.energy * s + self.neurons * carried", "values = self.energy * s + carried", "cooccurrence/test_cooccurrence.py -k flow_closes"),
    "cooc: query and key exchanged": ("systems/cooccurrence/model/transformer.py", "scores = table[tokens[:, None, :], tokens[:, :, None]]", "scores = table[tokens[:, :, None], tokens[:, None, :]]", "cooccurrence/test_cooccurrence.py -k numpy_loop"),
    "cooc: no 1/sqrt(m)": ("systems/cooccurrence/model/transformer.py", "tokens[:, :, None]] / np.sqrt(width)", "tokens[:, :, None]]", "cooccurrence/test_cooccurrence.py -k numpy_loop"),
    "cooc: signs trained": ("systems/cooccurrence/model/transformer.py", "return self.mlp, self.value, self.key, self.query\n", "return self.mlp, self.value, self.key, self.query, self.signs\n", "cooccurrence/test_cooccurrence.py -k invariants"),
    "cooc: words repeat where they may not": ("systems/cooccurrence/task.py", "if distinct:\n            # As many", "if distinct and False:\n            # As many", "cooccurrence/test_cooccurrence.py -k training_sets"),
    "cooc: label of the third kind": ("systems/cooccurrence/task.py", "jnp.where(kinds == 0, 1.0, -1.0)", "jnp.where(kinds % 2 == 0, 1.0, -1.0)", "cooccurrence/test_cooccurrence.py -k training_sets"),
    "cooc: signals keep their places": ("systems/cooccurrence/task.py", "return jr.permutation(key, rows, axis=1, independent=True)", "return rows", "cooccurrence/test_cooccurrence.py -k population"),
    "cooc: row 41, values transposed": ("systems/cooccurrence/theory.py", "jnp.einsum(\"nlh,mc,nlc,nhd->md\", weight, Q, X, X)", "jnp.einsum(\"nlh,mc,nhc,nld->md\", weight, Q, X, X)", "engine/test_statements.py -k test_row[cooc.41]"),
    "cooc: row 43 as printed": ("systems/cooccurrence/theory.py", "(a[0] * second if stray else second)", "a[0] * second", "engine/test_statements.py -k test_row[cooc.43]"),
    "cooc: neurons drawn back": ("systems/cooccurrence/theory.py", "return (a @ state.neurons @ a) * S + (", "return (a @ state.neurons @ a) * S - (", "cooccurrence/test_cooccurrence.py -k velocity_of_the_values"),
    "cooc: a word too few": ("systems/cooccurrence/theory.py", "return 3 + sum(count", "return 2 + sum(count", "cooccurrence/test_cooccurrence.py -k words_of"),
}  # fmt: skip
