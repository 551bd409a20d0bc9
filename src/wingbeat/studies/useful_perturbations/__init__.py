"""Which perturbations help ensembles, by kind, time and size, at equal training cost?"""

from __future__ import annotations

from typing import Final

from wingbeat.studies.useful_perturbations.claims import claims
from wingbeat.studies.useful_perturbations.found import tables
from wingbeat.studies.useful_perturbations.page import content
from wingbeat.studies.useful_perturbations.plan import UsefulPlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "UsefulPlan"]

STUDY: Final = register(
    NamedStudy(
        name="useful-perturbations",
        title="which perturbations help ensembles",
        help="Which perturbations help ensembles, by kind, time and size, at equal cost?",
        plan=UsefulPlan,
        conditions=conditions,
        tables=tables,
        claims=claims,
        answers=("apart-gains-*",),
        page=content,
    ),
)
