"""Exponents and tests for chaos from one measured series, and from the distance of two."""

from __future__ import annotations

from wingbeat.lyapunov.series.divergence import SeriesExponent, from_series, linear_region
from wingbeat.lyapunov.series.nmle import Nmle, l1_distance, nmle
from wingbeat.lyapunov.series.recurrence import Correlation, Period, autocorrelation, period
from wingbeat.lyapunov.series.zero_one import ZeroOne, zero_one

__all__ = [
    "Correlation",
    "Nmle",
    "Period",
    "SeriesExponent",
    "ZeroOne",
    "autocorrelation",
    "from_series",
    "l1_distance",
    "linear_region",
    "nmle",
    "period",
    "zero_one",
]
