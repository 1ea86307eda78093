"""Planted faults of this part: see tests/faults.py."""

# name: (file, the right code, the fault, tests that must catch it)
FAULTS = {
    "noise: the mean score forgets the trigger": ("systems/noise/model/three_steps.py", "mean = (jnp.sum(scores, axis=1) + trigger) / z.shape[1]", "mean = jnp.sum(scores, axis=1) / z.shape[1]", "noise/test_noise.py -k 'are_the_loops'"),
    "noise: centred by 1/M all the same": ("systems/noise/model/three_steps.py", "weights = answered if centred else jnp.ones_like(answered)", "weights = jnp.ones_like(answered)", "noise/test_noise.py -k 'are_the_loops'"),
    "noise: fresh sequences with old counts": ("systems/noise/model/three_steps.py", "_met(task, two) if fresh else counts", "counts", "noise/test_noise.py -k 'are_the_loops'"),
    "noise: the third step without the trigger's score": ("systems/noise/model/three_steps.py", "right = scores[own] + gain > scores[other]", "right = scores[own] > scores[other]", "noise/test_noise.py -k 'are_the_loops'"),
    "noise: the population's key without 1 − 1/T": ("systems/noise/model/three_steps.py", "return (1 - 1 / T) / (N * T) ** 2", "return 1 / (N * T) ** 2", "noise/test_noise.py -k population"),
    "noise: T rivals": ("systems/noise/observe.py", "share ** (task.length - 1)", "share**task.length", "noise/test_noise.py -k population"),
    "noise: a wrong token never answers right": ("systems/noise/observe.py", "jnp.where(found, told[:, None], lucky)", "found & told[:, None]", "noise/test_noise.py -k population"),
    "noise: narrow embeddings are short": ("systems/noise/task.py", "rows * jnp.sqrt(rows.shape[-1] / dimension).astype(rows.dtype)", "rows", "noise/test_noise.py -k narrowed"),
    "noise: half the interference of one step": ("systems/noise/theory.py", "1 / d**2 + 2 * (N - 2) / d**2", "1 / d**2 + (N - 2) / d**2", "noise/test_noise.py -k accuracy_of_one"),
    "noise: a sequence alone has T rivals": ("systems/noise/theory.py", "(T - 1) * (1 - 1 / N) / d", "T * (1 - 1 / N) / d", "engine/test_statements.py -k test_row[noise.signal]"),
    "noise: frequencies a factor T too small": ("systems/noise/theory.py", "frequencies=on * N * T**4", "frequencies=on * N * T**3", "engine/test_statements.py -k test_row[noise.attention]"),
    "noise: the claim with another exponent": ("systems/noise/theory.py", "(N**2 / (T * n)) ** (2 / 3)", "(N**2 / (T * n)) ** (1 / 3)", "noise/test_noise.py -k dimension"),
    "noise: nodes of one precision": ("systems/noise/theory.py", "nodes = jnp.asarray(_NODES, float)", "nodes = _NODES", "engine/test_precision.py -k take_turns"),
    "noise: centres of few tokens": ("systems/noise/theory.py", "(1 + N / T**2)", "(1 + N / T**3)", "noise/test_noise.py -k few_sequences"),
}  # fmt: skip
