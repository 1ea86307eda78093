"""What the command ``assocmem`` does, behind ``cli.py``."""
