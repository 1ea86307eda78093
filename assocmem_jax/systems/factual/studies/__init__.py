"""What is measured of factual recall: how it is learned, and what a transformer holds."""
