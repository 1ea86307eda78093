"""Studies of k hops."""
