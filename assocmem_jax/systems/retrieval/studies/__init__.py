"""Slides p. 5: how much retrieves."""
