"""Curvature of the loss: Hessian products, eigenvalues, thresholds and phases of learning rate.

``Hessian`` makes operators of a task's loss; ``eigenpairs``, ``hutchinson``, ``hutch_plus_plus``
and ``density`` look at them; ``curvature_along`` follows a recorded run. ``threshold`` says where
the task's optimizer becomes unstable, ``edge_of_stability`` and ``catapult`` judge a course.
"""

from typing import TYPE_CHECKING

from wingbeat.curvature.along import CurvatureSample, curvature_along, default_hessian, sharpness
from wingbeat.curvature.catapult import Catapult, catapult, uv_map, uv_trajectory
from wingbeat.curvature.condensation import (
    Condensation,
    TwoLayer,
    condensation,
    regime,
    relative_change,
    scales,
    slope_against_width,
)
from wingbeat.curvature.density import Density, density
from wingbeat.curvature.density_along import density_along
from wingbeat.curvature.edge import Edge, edge_of_stability
from wingbeat.curvature.gradient_noise import (
    BreakEven,
    GradientNoise,
    break_even,
    covariance,
    gradients_at,
    is_past_break_even,
)
from wingbeat.curvature.hvp import Hessian
from wingbeat.curvature.lanczos import Eigenpairs, eigenpairs
from wingbeat.curvature.linear import Operator
from wingbeat.curvature.preconditioned import (
    Moment,
    ThresholdComparison,
    against_threshold,
    preconditioner,
    states_along,
)
from wingbeat.curvature.thresholds import (
    Threshold,
    adam,
    gradient_descent,
    nesterov,
    polyak,
    threshold,
)
from wingbeat.curvature.trace import Trace, hutch_plus_plus, hutchinson
from wingbeat.moved import former_names

__all__ = [
    "BreakEven",
    "Catapult",
    "Condensation",
    "CurvatureSample",
    "Density",
    "Edge",
    "Eigenpairs",
    "GradientNoise",
    "Hessian",
    "Moment",
    "Operator",
    "Threshold",
    "ThresholdComparison",
    "Trace",
    "TwoLayer",
    "adam",
    "against_threshold",
    "break_even",
    "catapult",
    "condensation",
    "covariance",
    "curvature_along",
    "default_hessian",
    "density",
    "density_along",
    "edge_of_stability",
    "eigenpairs",
    "gradient_descent",
    "gradients_at",
    "hutch_plus_plus",
    "hutchinson",
    "is_past_break_even",
    "nesterov",
    "polyak",
    "preconditioner",
    "regime",
    "relative_change",
    "scales",
    "sharpness",
    "slope_against_width",
    "states_along",
    "threshold",
    "uv_map",
    "uv_trajectory",
]

if not TYPE_CHECKING:
    _FORMER = {"Look": "CurvatureSample", "follow": "states_along", "uv_course": "uv_trajectory"}
    __getattr__ = former_names(__name__, _FORMER)
