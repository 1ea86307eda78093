"""Closed forms of one memory. Imports numerics only."""
