"""Onset: from which step on a perturbation no longer leads the run to another basin."""

from __future__ import annotations

from wingbeat.analyses.onset.candidates import onset_cost
from wingbeat.analyses.onset.decision import Verdict, decide, fewest, limits
from wingbeat.analyses.onset.endpoint_metric import METRICS
from wingbeat.analyses.onset.find import find_onset
from wingbeat.analyses.onset.outcome import Onset, Trial
from wingbeat.analyses.onset.search import Bracket, Cost, bracket, cost, next_step

__all__ = [
    "METRICS",
    "Bracket",
    "Cost",
    "Onset",
    "Trial",
    "Verdict",
    "bracket",
    "cost",
    "decide",
    "fewest",
    "find_onset",
    "limits",
    "next_step",
    "onset_cost",
]
