"""Latent states of training: a hidden Markov model over statistics of many runs.

results → series → hmm → selection → fitted → kept, detours. Consumes finished results, trains
nothing. Needs hmmlearn (``pip install "wingbeat[states]"``).
"""

from __future__ import annotations

# isort: off
from wingbeat.analyses.states.series import RunSeries, converged_steps, series_of, series_of_table
from wingbeat.analyses.states.hmm import GaussianStates, LostStatesError, fit_gaussian
from wingbeat.analyses.states.fitted import FittedStates, fit_states
from wingbeat.analyses.states.kept import load_states, save_states
from wingbeat.analyses.states.detours import Detour, detours
from wingbeat.analyses.states.published import OccupancyFit, occupancy_fit

# isort: on

__all__ = [
    "Detour",
    "FittedStates",
    "GaussianStates",
    "LostStatesError",
    "OccupancyFit",
    "RunSeries",
    "converged_steps",
    "detours",
    "fit_gaussian",
    "fit_states",
    "load_states",
    "occupancy_fit",
    "save_states",
    "series_of",
    "series_of_table",
]
