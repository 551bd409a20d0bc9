"""Models between models: loss and error on lines and planes, averages, and functions compared.

probe → line, plane, soup; functions; fisher. Everything starts from `Models`, a stack of weight
vectors of one task, and a `Probe`, which says on which data and how they are evaluated.
"""

from __future__ import annotations

# isort: off
from wingbeat.landscape.models import Models
from wingbeat.landscape.probe import Probe, Values
from wingbeat.landscape.line import LineCurve, Lines, line
from wingbeat.landscape.plane import Plane, plane
from wingbeat.landscape.random_plane import RandomPlane, random_plane
from wingbeat.landscape.soup import Soup, soup
from wingbeat.landscape.functions import Functions, functions
from wingbeat.landscape.fisher import FisherDivergence, diagonal_fisher, fisher_divergence

# isort: on

__all__ = [  # noqa: RUF022 (pipeline order)
    "Models",
    "Probe",
    "Values",
    "LineCurve",
    "Lines",
    "line",
    "Plane",
    "plane",
    "RandomPlane",
    "random_plane",
    "Soup",
    "soup",
    "Functions",
    "functions",
    "FisherDivergence",
    "diagonal_fisher",
    "fisher_divergence",
]
