"""What a study is, how a config becomes one, which there are. Those of the papers are in the wings."""
