"""Cooc Figure 1 and the time of Phase 1."""
