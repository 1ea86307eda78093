"""What is proved of factual recall, as programs."""
