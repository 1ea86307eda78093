"""What must happen: how the first gradient steps build an induction head; the global against the context."""
