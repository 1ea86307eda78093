"""Numbers that belong to no system: special functions, roots, minimisers, the largest eigenvalue."""
