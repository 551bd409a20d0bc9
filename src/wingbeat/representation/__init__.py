"""What the layers of a model represent: captured activations, and two models compared by them.

capture → layers
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

# isort: on

__all__ = [  # noqa: RUF022 (pipeline order)
    "Recorder",
    "as_features",
    "check_layers",
    "default_layers",
    "LayerMatrix",
    "compare_layers",
]
