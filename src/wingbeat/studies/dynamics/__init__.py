"""Training dynamics: 21 architectures in three families, nudged at the start."""
