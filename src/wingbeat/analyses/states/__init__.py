"""Latent states of training: a hidden Markov model over statistics of many runs.

results → series → hmm → selection → fitted → detours. Consumes finished results, trains nothing.
Needs hmmlearn (``pip install "wingbeat[states]"``).
"""

from __future__ import annotations

# isort: off
from wingbeat.analyses.states.series import RunSeries, series_of
from wingbeat.analyses.states.hmm import GaussianStates, fit_gaussian
from wingbeat.analyses.states.fitted import FittedStates, fit_states
from wingbeat.analyses.states.detours import Detour, detours

# isort: on

__all__ = [
    "Detour",
    "FittedStates",
    "GaussianStates",
    "RunSeries",
    "detours",
    "fit_gaussian",
    "fit_states",
    "series_of",
]
