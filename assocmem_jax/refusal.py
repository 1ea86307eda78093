"""What every refusal of this package is raised as. Standard library only: commands know it without JAX."""


class RefusalError(ValueError):
    """One line: the argument, what it must be, what it was, what to do."""
