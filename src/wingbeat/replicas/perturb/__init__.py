"""Perturbations: how a replica departs from the reference at its fork step.

Two families. A *nudge* changes weights once; a *stream change* leaves the weights alone and
gives the replica another seed for one source of noise from its fork step on. The definitions
of direction, scale and fraction follow Altıntaş et al., "The Butterfly Effect: Neural Network
Training Trajectories Are Highly Sensitive to Initial Conditions" (ICML 2025, arXiv
2506.13234, section 3; the mask is applied before normalising, as in its equation 6).
"""

from __future__ import annotations

from wingbeat.replicas.perturb.batch_gradient import BatchGradient
from wingbeat.replicas.perturb.direction import Direction
from wingbeat.replicas.perturb.gaussian import Gaussian
from wingbeat.replicas.perturb.magnitude import expected_init_norm, init_stds
from wingbeat.replicas.perturb.named import perturbation_of, size_field
from wingbeat.replicas.perturb.perturbation import (
    PERTURBATIONS,
    Nudge,
    Perturbation,
    StreamChange,
)
from wingbeat.replicas.perturb.single_weight import SingleWeight
from wingbeat.replicas.perturb.streams import Augmentation, DataOrder, Dropout, Init
from wingbeat.replicas.perturb.ulp import Ulp

__all__ = [
    "PERTURBATIONS",
    "Augmentation",
    "BatchGradient",
    "DataOrder",
    "Direction",
    "Dropout",
    "Gaussian",
    "Init",
    "Nudge",
    "Perturbation",
    "SingleWeight",
    "StreamChange",
    "Ulp",
    "expected_init_norm",
    "init_stds",
    "perturbation_of",
    "size_field",
]
