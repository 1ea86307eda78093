"""What is proved of learning through noise, as programs."""
