"""Logged runs: what trackers wrote of several seeds, as curves with intervals, and two recipes."""

from __future__ import annotations

from wingbeat.analyses.logged_runs.read import read_runs
from wingbeat.analyses.logged_runs.recipes import RecipeComparison
from wingbeat.analyses.logged_runs.runs import LoggedRuns, compare_recipes

__all__ = ["LoggedRuns", "RecipeComparison", "compare_recipes", "read_runs"]
