"""Planted faults of this part: see tests/faults.py."""

# name: (file, the right code, the fault, tests that must catch it)
FAULTS = {
    "denoising: Bessel's start to first order": ("numerics/special.py", "start = x / (s + a) * (1 - a / (2 * s**2))", "start = x / (s + a)", "denoising/test_denoising.py -k bessel"),
    "denoising: the recurrence one order off": ("numerics/special.py", "2 * (nu + _ORDERS - k) + x * A", "2 * (nu + _ORDERS - k - 1) + x * A", "denoising/test_denoising.py -k bessel"),
    "denoising: a sphere of the ratio of R^n": ("systems/denoising/task.py", "bessel_ratio(self.rank / 2 - 1,", "bessel_ratio(self.dimension / 2 - 1,", "denoising/test_denoising.py -k bayes_answers"),
    "denoising: clusters that forget their width": ("systems/denoising/task.py", "(noise * middle + self.variance * query) / whole", "middle", "denoising/test_denoising.py -k bayes_answers"),
    "denoising: noise of σ⁴": ("systems/denoising/task.py", "shift = jnp.sqrt(noise)", "shift = noise", "denoising/test_denoising.py -k points"),
    "denoising: clusters attend too far": ("systems/denoising/task.py", "return 1 / (self.variance + noise), b**2, 1 - b", "return 1 / (self.variance + noise), 0.0 * b, 1.0", "engine/test_statements.py -k test_row[denoising.one-step]"),
    "denoising: keys transposed": ("systems/denoising/model.py", 'seen = jnp.einsum("bln,bn->bl", contexts, queries @ self.key.T)', 'seen = jnp.einsum("bln,bn->bl", contexts, queries @ self.key)', "denoising/test_denoising.py -k formula"),
    "denoising: a step keeps nothing": ("systems/denoising/model.py", "self.keep * x + self.gain * memory.update(x)", "self.gain * memory.update(x)", "denoising/test_denoising.py -k attention_memory"),
    "denoising: Wishart with δ of δ + 1": ("systems/denoising/theory.py", "(1 + (rank + 1) / length)", "(1 + rank / length)", "engine/test_statements.py -k test_row[denoising.length]"),
    "denoising: a χ of δ degrees across": ("systems/denoising/theory.py", "weights = m * u - jnp.exp(2 * u) / 2", "weights = rank * u - jnp.exp(2 * u) / 2", "denoising/test_denoising.py -k bayes_errors"),
    "denoising: points of the key of their law": ("systems/denoising/observe.py", "shared = law.draw(keys[0])", "shared = law.draw(keys[1])", "denoising/test_denoising.py -k are_independent"),
    "denoising: noise of the key of the law": ("systems/denoising/observe.py", "shared = law.draw(keys[0])", "shared = law.draw(keys[2])", "denoising/test_denoising.py -k are_independent"),
    "denoising: shares of one precision": ("systems/denoising/theory.py", "(high - low) * jnp.asarray(_SHARES, float)", "(high - low) * _SHARES", "engine/test_precision.py -k take_turns"),
}  # fmt: skip
