"""Noise sources: which source of noise makes runs differ, and how many seeds tell recipes apart."""

from __future__ import annotations

from wingbeat.analyses.noise_sources.available import SOURCES, check_sources
from wingbeat.analyses.noise_sources.compare import noise_sources
from wingbeat.analyses.noise_sources.hardware import Execution, default_executions
from wingbeat.analyses.noise_sources.outcome import NoiseSources, total_variance, variance
from wingbeat.analyses.noise_sources.power import (
    Difference,
    SeedPlan,
    binomial_floor,
    detectable,
    differ,
    plan_seeds,
    power_of,
    seeds_needed,
)

__all__ = [
    "SOURCES",
    "Difference",
    "Execution",
    "NoiseSources",
    "SeedPlan",
    "binomial_floor",
    "check_sources",
    "default_executions",
    "detectable",
    "differ",
    "noise_sources",
    "plan_seeds",
    "power_of",
    "seeds_needed",
    "total_variance",
    "variance",
]
