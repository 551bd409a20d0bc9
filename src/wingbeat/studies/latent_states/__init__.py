"""Latent states of training: states, forks and detours with and without LayerNorm."""

from __future__ import annotations

from typing import Final

from wingbeat.studies.latent_states.claims import claims
from wingbeat.studies.latent_states.found import tables
from wingbeat.studies.latent_states.page import content
from wingbeat.studies.latent_states.plan import StatesPlan, announcement, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "StatesPlan"]

STUDY: Final = register(
    NamedStudy(
        name="latent-states",
        title="latent states of training",
        help="Which states does training pass through, and does a detour cost time?",
        plan=StatesPlan,
        conditions=conditions,
        tables=tables,
        claims=claims,
        answers=("occupancy",),
        page=content,
        announce=announcement,
        told=("task", "normalised"),
    ),
)
