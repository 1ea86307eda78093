"""Studies of in-context denoising."""
