"""The lemmas and the three gradient steps of Birth, as programs."""
