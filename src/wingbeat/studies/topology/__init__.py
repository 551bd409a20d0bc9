"""Topology of activations: do nets whose copies part also spread their samples farther apart?

The architectures of the study of training dynamics, trained as there, looked at before and after:
how long is the spanning tree of the same samples in each layer, with and without its scale, how
many loops do they form, and does any of it go with the growth of nudges? Beside it the published
expansion ratio is measured under each of its conventions.
"""

from __future__ import annotations

from typing import Final

from wingbeat.studies.dynamics.plan import placed
from wingbeat.studies.topology.claims import claims
from wingbeat.studies.topology.found import TopologyFindings, tables
from wingbeat.studies.topology.page import content
from wingbeat.studies.topology.plan import TopologyPlan, announcement, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "TopologyPlan"]

STUDY: Final = register(
    NamedStudy(
        name="topology",
        title="topology of activations",
        help="Do nets whose nudged copies part spread their samples farther apart?",
        plan=TopologyPlan,
        conditions=conditions,
        read=TopologyFindings,
        tables=tables,
        claims=claims,
        answers=("divergent-expand/nets like these, all nets*",),
        page=content,
        announce=announcement,
        told=("architecture", "seed"),
        placed=placed,
    ),
)
