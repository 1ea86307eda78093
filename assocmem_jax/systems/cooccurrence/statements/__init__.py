"""The theorems of Cooc, as programs."""
