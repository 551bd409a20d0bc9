r"""Natural units of a training run's state, and the growth of a tangent in them.

Adam's second moment reacts to the parameters a billion times more strongly than they to it
(:math:`\|\partial p'/\partial v\|` was 1.5e9 after one step), and the optimizer's coordinates
change a finite-time exponent by about the logarithm of their scale over the time. In the units
:math:`(p/\eta,\; m/(\sqrt v+\varepsilon),\; \delta v/2(\sqrt v+\varepsilon)^2)` one step is near
the identity (condition 2 instead of 3e5). A change of units drops out of an exponent over a long
time if the units themselves neither grow nor shrink exponentially; whether it has dropped out is
seen from the growth of the parameter block alone, which is reported beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch

from wingbeat.task.optimizers import Adagrad, Adam, Grouped, NAdam, RAdam, RmsProp, root

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from wingbeat.lyapunov.training.coordinates import Coordinates
    from wingbeat.task.optimizers import PureOptimizer

    Slots = Mapping[str, Tensor]


SQUARES = ("square_sum", "largest_square_sum", "sum")
"""Slots whose entries are sums of squares: they have a root and are never negative."""


def natural_scales(
    rule: PureOptimizer, coordinates: Coordinates, params: Tensor, slots: Slots
) -> Tensor:
    """Return what each coordinate of a tangent is multiplied by to be in natural units, ``(D,)``.

    Args:
        rule: the pure optimizer; parameters are measured in its learning rates (without the
            schedule's factor; a rate of 0 counts as 1), buffers as they are.
        coordinates: of the run.
        params: ``(P,)``, only its length and type are read.
        slots: the optimizer's state, each ``(P,)``.

    >>> from wingbeat.lyapunov.training.coordinates import Coordinates
    >>> from wingbeat.params import Layout
    >>> from wingbeat.task.optimizers import Sgd
    >>> own = Coordinates(Layout(("w",), ((2,),)), (), Layout((), ()))
    >>> natural_scales(Sgd(lr=0.1), own, torch.zeros(2), {})
    tensor([10., 10.])
    """
    by_block = _scales(rule, params, slots)
    one = torch.ones_like(params)
    pieces = [by_block["parameters"], *(by_block.get(name, one) for name in coordinates.slots)]
    return torch.cat([*pieces, params.new_ones(coordinates.buffers.size)])


def _scales(rule: PureOptimizer, params: Tensor, slots: Slots) -> dict[str, Tensor]:
    if isinstance(rule, Grouped):
        own = [
            _scales(g.rule, params[g.place], {name: s[g.place] for name, s in slots.items()})
            for g in rule.groups
        ]
        names = dict.fromkeys(name for scales in own for name in scales)
        ones = [torch.ones_like(params[g.place]) for g in rule.groups]
        return {
            name: torch.cat([s.get(name, one) for s, one in zip(own, ones, strict=True)])
            for name in names
        }
    rate = abs(float(getattr(rule, "lr", 1.0))) or 1.0
    return {"parameters": torch.full_like(params, 1 / rate), **_slot_scales(rule, slots)}


def _slot_scales(rule: PureOptimizer, slots: Slots) -> dict[str, Tensor]:
    """Return the scales of the slots whose natural unit is not 1 (SGD's momentum has 1)."""
    if isinstance(rule, Adam | NAdam | RAdam):
        first, second = rule.betas
        size = _size(slots["square_sum"], 1 - second, rule.eps)
        found = {"gradient_sum": (1 - first) / size, "square_sum": (1 - second) / (2 * size**2)}
        if "largest_square_sum" in slots:
            largest = _size(slots["largest_square_sum"], 1 - second, rule.eps)
            found["largest_square_sum"] = (1 - second) / (2 * largest**2)
            found["gradient_sum"] = (1 - first) / largest
        return found
    if isinstance(rule, RmsProp):
        share = 1 - rule.alpha
        size = _size(slots["square_sum"], share, rule.eps)
        one = torch.ones_like(size)
        scales = {
            "square_sum": share / (2 * size**2),
            "gradient_sum": share / size,
            "step_sum": one / sqrt(share),
        }
        return {name: scales[name] for name in slots if name in scales}
    if isinstance(rule, Adagrad):
        return {"sum": 1 / (2 * _size(slots["sum"], 1.0, rule.eps) ** 2)}
    return {}


def _size(square_sum: Tensor, share: float, eps: float) -> Tensor:
    """Return the typical size of a gradient, never 0."""
    return root(square_sum * share, smooth=True) + (eps or 1e-12)


def block_growth(tangents: Tensor, parameters: int) -> NDArray[np.float64]:
    """Return the logarithm of what each tangent adds to the volume of the parameter block.

    The first j tangents span a parallelepiped; cut to the parameters its volume is the
    product of the first j factors. The difference of two such arrays is how much of the
    growth between them the full vector shows and the parameters do not.

    Args:
        tangents: orthonormal rows ``(k, D)`` in natural units, parameters first.
        parameters: number P of parameters.

    Returns:
        ``(k,)``, at most 0; NaN from the (P + 1)-th on, where there is no more volume.

    >>> rows = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    >>> block_growth(rows, 1).round(4)
    array([-0.5108,     nan])
    """
    count = tangents.shape[0]
    block = tangents[: min(count, parameters), :parameters].double()
    found = np.full(count, np.nan)
    if torch.isfinite(block).all():
        r = torch.linalg.qr(block.T, mode="r").R.diagonal().abs()
        with np.errstate(divide="ignore"):
            found[: len(r)] = np.log(r.numpy())
    return found
