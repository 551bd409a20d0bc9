"""Where the leading tangent of a training run lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.lyapunov.training.coordinates import Coordinates


@dataclass(frozen=True)
class Leading:
    """Averages over a run of what the leading tangent looks like, in natural units.

    Attributes:
        participation: (Σv²)² ÷ Σv⁴ over the parameters, in [1, P]: 1 = one single weight, P =
            all alike. A positive exponent with a participation near 1 is about one weight.
        layers: share of the squared norm of the parameter block in each tensor, sum 1.
        blocks: share of the squared norm of the whole tangent in the parameters, each of the
            optimizer's slots and each buffer, sum 1.
    """

    participation: float
    layers: dict[str, float]
    blocks: dict[str, float]

    @property
    def main_layer(self) -> str:
        """The tensor with the largest share; "" where there is none."""
        return max(self.layers, key=self.layers.__getitem__, default="")


@dataclass
class LeadingWatch:
    """Collects a leading tangent at one moment after another.

    Args:
        coordinates: of the run.

    >>> from wingbeat.lyapunov.training.coordinates import Coordinates
    >>> from wingbeat.params import Layout
    >>> import torch
    >>> watch = LeadingWatch(Coordinates(Layout(("a", "b"), ((2,), (1,))), (), Layout((), ())))
    >>> watch.see(torch.tensor([0.6, 0.0, 0.8]))
    >>> found = watch.mean()
    >>> round(found.participation, 3), found.main_layer
    (1.855, 'b')
    """

    coordinates: Coordinates
    seen: int = 0
    sums: dict[str, dict[str, float]] = field(default_factory=dict)
    ratio: float = 0.0

    def see(self, tangent: Tensor) -> None:
        """Take in a tangent ``(D,)`` of norm 1; one without parameters is left out."""
        squares = tangent.double() ** 2
        layout = self.coordinates.layout
        own = squares[: layout.size]
        total = float(own.sum())
        if not total > 0:
            return
        self.seen += 1
        self.ratio += total**2 / float((own * own).sum())
        layers = {name: float(own[place].sum()) / total for name, place in layout.slices.items()}
        blocks = {name: float(squares[p].sum()) for name, p in self.coordinates.blocks.items()}
        for kind, shares in (("layers", layers), ("blocks", blocks)):
            sums = self.sums.setdefault(kind, dict.fromkeys(shares, 0.0))
            for name, share in shares.items():
                sums[name] += share

    def mean(self) -> Leading:
        """Return the averages; NaN and no shares where nothing was seen."""
        if not self.seen:
            return Leading(float("nan"), {}, {})
        found = {
            kind: {name: value / self.seen for name, value in sums.items()}
            for kind, sums in self.sums.items()
        }
        return Leading(self.ratio / self.seen, found["layers"], found["blocks"])
