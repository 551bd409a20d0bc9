"""What the layers of a model represent: captured activations, two models compared, one measured.

capture → layers → shape
"""

from __future__ import annotations

# isort: off
from wingbeat.representation.capture import (
    Recorder,
    as_features,
    check_layers,
    default_layers,
)
from wingbeat.representation.layers import LayerMatrix, compare_layers
from wingbeat.representation.shape import betti_of, topology_of

# isort: on

__all__ = [  # noqa: RUF022 (pipeline order)
    "Recorder",
    "as_features",
    "check_layers",
    "default_layers",
    "LayerMatrix",
    "compare_layers",
    "betti_of",
    "topology_of",
]
