"""Figure record of states with ways between them, along the steps of training."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GraphNode:
    """One state.

    Attributes:
        name: written in it, short.
        below: written below it, a line each.
        x: where it stands along the axis.
        share: of all runs that come by, in [0, 1]: its size.
        value: its colour; NaN for none.
        hover: what is said where it is pointed at.
    """

    name: str
    below: tuple[str, ...]
    x: float
    share: float
    value: float
    hover: str


@dataclass(frozen=True)
class GraphEdge:
    """One way from a node to another, by their places in the figure's list.

    ``share`` of all runs take it: its width; ``text`` is written on it; a ``hover`` tells more.
    """

    source: int
    target: int
    share: float
    text: str
    hover: str


@dataclass(frozen=True)
class GraphFigure:
    """States from left to right by when they occur, ways between them as arrows.

    Attributes:
        key: short name.
        title: what it shows.
        caption: how to read it.
        x_label: of the axis along which nodes stand.
        value_label: of the colours.
        limits: of the colours.
        nodes: states; lanes are chosen so that no way runs through another state.
        edges: ways.
    """

    key: str
    title: str
    caption: str
    x_label: str
    value_label: str
    limits: tuple[float, float]
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]

    @property
    def empty(self) -> bool:
        """True when no node can be drawn."""
        return not any(math.isfinite(node.x) for node in self.nodes)
