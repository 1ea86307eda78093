"""Planted faults of this part: see tests/faults.py."""

# name: (file, the right code, the fault, tests that must catch it)
FAULTS = {
    "facts: relation on the subject's place": ("systems/factual/task.py", "place = place + (place >= other)", "pass", "factual/test_factual.py -k law_of_texts"),
    "facts: noise digits repeat": ("systems/factual/task.py", "            words = words // jnp.uint32(types)\n", "", "factual/test_factual.py -k law_of_texts"),
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
    "facts: mentions squared": ("systems/factual/theory.py", "return half.mentions * jnp.asarray(start) ** 2 / (2", "return half.mentions**2 * jnp.asarray(start) ** 2 / (2", "engine/test_statements.py -k test_row[facts.mentions]"),
}  # fmt: skip
