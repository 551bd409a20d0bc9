"""What the study reads off each finished run: trees and loops of its samples, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED
from wingbeat.metrics.persistence import Diagram, persistence, total_persistence
from wingbeat.metrics.topology import distances, landmarks, tree_edges
from wingbeat.studies.curvature import Measured, number, task_of
from wingbeat.studies.topology.clouds import POOLINGS, clouds_of, family_of, samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from wingbeat.execution.result import Result
    from wingbeat.typing import Array

When = Literal["start", "end"]
WHEN: Final[tuple[When, ...]] = ("start", "end")
"""Before the first update, and after the last."""
RULES: Final = ("input", "layer")
"""What the published ratio divides by: what goes in (decoders), or the first layer (encoders)."""
LANDMARKS: Final = 128
"""Points of a diagram: loops of 128 take milliseconds, of 200 circles ten times as long."""


@dataclass(frozen=True)
class CloudTopology:
    """The shape of one cloud.

    Attributes:
        total: length of the spanning tree, in units of the activations.
        apart: mean distance of two points, in the same.
        diagram: bars of the landmarks in units of ``apart``; None where all points coincide.
        radius: how far a point is from the landmarks at most, in units of ``apart``.
    """

    total: float
    apart: float
    diagram: Diagram | None
    radius: float
    points: int

    @property
    def h0(self) -> float:
        """Scaled tree length, (0, 1]; NaN where all points coincide."""
        return self.total / ((self.points - 1) * self.apart) if self.apart > 0 else nan

    @property
    def h1(self) -> float:
        """Summed length of all loops, in units of the mean distance."""
        return nan if self.diagram is None else total_persistence(self.diagram)


def topology(result: Result) -> Measured:
    """Return trees and loops of the reference's layers at the first and the last step."""
    family = family_of(result.condition["factory"]["place"])
    inputs = samples(family)
    found: Measured = {}
    for when, step in zip(WHEN, (result.steps[0], result.steps[-1]), strict=True):
        model = model_at(result, step)
        every = clouds_of(model, inputs, POOLINGS[: 2 if family == "transformer" else 1])
        shapes = [cloud_topology(x) for x in every["mean"]]
        found |= of_layers(shapes, when)
        for pooling, layers in every.items() if family == "transformer" else ():
            lengths = [tree(x)[0] for x in layers]
            found |= ratios(f"{pooling}_{when}", lengths)
        found |= bars(shapes[-1], when)
        if when == "start":
            found |= bars(shapes[0], "input")
    return found


def model_at(result: Result, step: int) -> nn.Module:
    """Return the reference's model as it was recorded at a step."""
    snapshot, model = result.trajectory.at(step), task_of(result).model()
    state = {name: t[0] for part in (snapshot.params, snapshot.buffers) for name, t in part.items()}
    model.load_state_dict(state)
    return model


def tree(x: Array) -> tuple[float, float]:
    """Return the length of a cloud's spanning tree and the mean distance of two points.

    >>> tree(np.array([[0.0], [1.0], [3.0]]))
    (3.0, 2.0)
    """
    if not np.isfinite(x).all():
        return nan, nan
    apart, n = distances(x), len(x)
    return float(tree_edges(apart).sum()), float(apart.sum()) / (n * (n - 1))


def cloud_topology(x: Array) -> CloudTopology:
    """Return the shape of a cloud (samples, features)."""
    total, mean = tree(x)
    if not mean > 0:
        return CloudTopology(total, mean, None, nan, len(x))
    apart = distances(x) / mean
    chosen = landmarks(apart, min(LANDMARKS, len(x)))
    diagram = persistence(apart[np.ix_(chosen.places, chosen.places)])
    return CloudTopology(total, mean, diagram, chosen.radius, len(x))


def of_layers(shapes: Sequence[CloudTopology], when: When) -> Measured:
    """Return what is told of a net at one moment; the first cloud is what goes in.

    Ratios divide by the first cloud and by the second; means, span and radius are of the hidden
    layers, all others. ``size`` is the ratio of mean distances, where ``expansion`` is that of
    tree lengths.
    """
    layers = shapes[1:]
    h0, h1 = ([getattr(s, name) for s in layers] for name in ("h0", "h1"))
    why = DIVERGED if np.isnan([s.total for s in shapes]).any() else CONSTANT
    return {
        **ratios(when, [s.total for s in shapes]),
        **ratios(when, [s.apart for s in shapes], "size"),
        f"h0_{when}": number(float(np.mean(h0)), why),
        f"h0_span_{when}": number(float(np.ptp(h0)), why),
        f"h1_{when}": number(float(np.mean(h1)), why),
        f"radius_{when}": number(float(np.max([s.radius for s in layers])), why),
        **{f"h0_{when}/{i}": number(value, why) for i, value in enumerate(h0)},
        **{f"h1_{when}/{i}": number(value, why) for i, value in enumerate(h1)},
    }


def ratios(when: str, totals: Sequence[float], name: str = "expansion") -> Measured:
    """Return the largest over hidden layers ÷ that of what goes in, and ÷ that of the first layer.

    >>> {k: v["value"] for k, v in ratios("end", [2.0, 1.0, 6.0, 5.0]).items()}
    {'expansion_input_end': 3.0, 'expansion_layer_end': 6.0}
    """
    peak = float(np.max(totals[1:]))
    why = DIVERGED if np.isnan(totals).any() else CONSTANT
    return {
        f"{name}_{rule}_{when}": number(peak / below if below > 0 else nan, why)
        for rule, below in zip(RULES, totals[:2], strict=True)
    }


def bars(shape: CloudTopology, name: str) -> Measured:
    """Return the finite bars of a cloud, in units of its mean distance, for the page's figures."""
    if shape.diagram is None:
        return {}
    points = shape.diagram.lengths(0)[::-1]
    births, deaths = shape.diagram.of(1).T
    told = {"h0_dies": points, "h1_born": births, "h1_dies": deaths}
    return {
        f"{what}_{name}/{i}": number(float(value))
        for what, values in told.items()
        for i, value in enumerate(values)
    }
