"""What is proved of k hops, as programs."""
