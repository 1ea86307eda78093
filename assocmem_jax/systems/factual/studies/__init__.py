"""Studies of factual recall."""
