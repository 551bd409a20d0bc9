"""Phases of the learning rate: stability, curvature and accuracy."""
