"""How each family of operations carries axes from its inputs to its outputs.

One file a family. A rule reads the axes of its inputs, ties those that the operation pairs,
pins those whose order it depends on, and returns the axes of its results.
"""

from wingbeat.symmetry.rules import (
    attention,
    concatenation,
    convolution,
    creation,
    elementwise,
    embedding,
    linear,
    normalisation,
    ordering,
    pooling,
    reduction,
    scatter,
    selection,
    shape,
)
from wingbeat.symmetry.rules.registry import RULES

__all__ = [
    "RULES",
    "attention",
    "concatenation",
    "convolution",
    "creation",
    "elementwise",
    "embedding",
    "linear",
    "normalisation",
    "ordering",
    "pooling",
    "reduction",
    "scatter",
    "selection",
    "shape",
]
