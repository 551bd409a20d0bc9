"""Recording the weights of a model, and nudging them."""

from __future__ import annotations

from wingbeat.deep_lyapunov.tracking.perturbation import (
    apply_perturbation,
    create_perturbed_copies,
)
from wingbeat.deep_lyapunov.tracking.tracker import TrajectoryTracker

__all__ = ["TrajectoryTracker", "apply_perturbation", "create_perturbed_copies"]
