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
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from wingbeat.lyapunov.training.coordinates import Coordinates
    from wingbeat.task.optimizers import PureOptimizer

    Slots = Mapping[str, Tensor]


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
    by_block = rule.natural_scale(params, slots)
    one = torch.ones_like(params)
    pieces = [by_block["parameters"], *(by_block.get(name, one) for name in coordinates.slots)]
    return torch.cat([*pieces, params.new_ones(coordinates.buffers.size)])


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
            found[: len(r)] = np.log(r.cpu().numpy())
    return found
