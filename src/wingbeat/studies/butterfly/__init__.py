"""Spawn and perturb (arXiv 2506.13234): from when on does a change no longer lead elsewhere?

Copies of a training run are perturbed at a time, by a size and in a kind, and trained on with
the same noise; how high is the barrier between where they end? After Altıntaş et al., "The
Butterfly Effect: Neural Network Training Trajectories Are Highly Sensitive to Initial
Conditions" (ICML 2025).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.studies.butterfly.announce import announcement
from wingbeat.studies.butterfly.claims import tested
from wingbeat.studies.butterfly.found import ButterflyFindings
from wingbeat.studies.butterfly.interventions import changes
from wingbeat.studies.butterfly.page import content
from wingbeat.studies.butterfly.plan import ButterflyPlan, begun, conditions
from wingbeat.study.named import NamedStudy, register

if TYPE_CHECKING:
    import pandas as pd

    from wingbeat.study.analysis import Analysis

__all__ = ["STUDY", "ButterflyPlan"]


def tables(found: Analysis) -> dict[str, pd.DataFrame]:
    """Return what is written as CSV; the table of interventions where there are several."""
    own, changed = found.own, changes(found.own)
    always = {"cells": own.cells, "values": own.values, "growth": own.laws}
    return {**always, "interventions": changed} if len(changed) else always


STUDY: Final = register(
    NamedStudy(
        name="butterfly",
        title="spawn and perturb",
        help="From when on does a small change of the weights no longer lead to another basin?",
        plan=ButterflyPlan,
        conditions=conditions,
        read=ButterflyFindings,
        tables=tables,
        claims=tested,
        answers=("tenth", "later"),
        page=content,
        begun=begun,
        announce=announcement,
        told=("intervention", "seed"),
    ),
)
