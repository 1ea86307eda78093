"""What is proved of in-context denoising, as programs."""
