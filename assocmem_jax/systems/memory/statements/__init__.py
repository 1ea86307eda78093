"""The theorems of GD, the Slides on memories, and what no paper has, as programs."""
