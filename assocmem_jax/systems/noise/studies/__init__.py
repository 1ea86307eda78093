"""Studies of learning through noise."""
