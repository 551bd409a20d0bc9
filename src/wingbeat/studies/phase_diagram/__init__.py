"""Phase diagram of two-layer ReLU nets at large width."""
