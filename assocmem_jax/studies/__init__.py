"""One module per paper: a figure or claim is a config schema, a run, a figure and a report."""
