"""Lyapunov exponents: of any map, of a series, and of training.

Everything is per step and in natural logarithms. See each function for what it needs:

- a differentiable map: `spectrum`, `max_exponent`, `covariant`, `finite_time`, `expansion_entropy`;
- a map without derivatives: `benettin`;
- a training task: `training_spectrum`, or replicas of it without derivatives:
  `replica_exponent`;
- a series: `from_series`, `zero_one`, `period`, `autocorrelation`; distances: `nmle`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# isort: off
from wingbeat.moved import former_names
from wingbeat.lyapunov.maps.spectrum import Spectrum, max_exponent, spectrum
from wingbeat.lyapunov.maps.batch_means import batch_means_error
from wingbeat.lyapunov.maps.dimension import Dimension, kaplan_yorke
from wingbeat.lyapunov.maps.benettin import TwoOrbits, benettin
from wingbeat.lyapunov.maps.finite_time import FiniteTime, finite_time
from wingbeat.lyapunov.maps.expansion import Expansion, expansion_entropy
from wingbeat.lyapunov.maps.covariant import Covariant, covariant
from wingbeat.lyapunov.series.divergence import SeriesExponent, from_series, linear_region
from wingbeat.lyapunov.series.zero_one import ZeroOne, zero_one
from wingbeat.lyapunov.series.recurrence import Correlation, Period, autocorrelation, period
from wingbeat.lyapunov.series.nmle import Nmle, l1_distance, nmle
from wingbeat.lyapunov.training.exponents import TrainingSpectrum, training_spectrum
from wingbeat.lyapunov.training.replicas_benettin import ReplicaExponent, replica_exponent

# isort: on

__all__ = [  # noqa: RUF022 (by what is needed)
    "spectrum",
    "max_exponent",
    "Spectrum",
    "batch_means_error",
    "kaplan_yorke",
    "Dimension",
    "benettin",
    "TwoOrbits",
    "finite_time",
    "FiniteTime",
    "expansion_entropy",
    "Expansion",
    "covariant",
    "Covariant",
    "from_series",
    "SeriesExponent",
    "linear_region",
    "zero_one",
    "ZeroOne",
    "period",
    "Period",
    "autocorrelation",
    "Correlation",
    "nmle",
    "Nmle",
    "l1_distance",
    "training_spectrum",
    "TrainingSpectrum",
    "replica_exponent",
    "ReplicaExponent",
]

if not TYPE_CHECKING:
    __getattr__ = former_names(__name__, {"maximum": "max_exponent"})
