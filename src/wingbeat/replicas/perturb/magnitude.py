"""How large a nudge is: what its scale multiplies, and on which weights."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Final, Literal, TypeGuard, get_args

import torch
from torch import Tensor

from wingbeat.errors import nearest
from wingbeat.replicas.perturb.perturbation import Perturbation, Tensors

RelativeTo = Literal["tensor_std", "init", "norm", "absolute"]


_LARGEST: Final = sys.float_info.max
_LARGEST_WHOLE: Final = 2**53  # beyond it a whole number is no float any more


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a plain number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def require_scale(owner: Perturbation, scale: object) -> None:
    """Refuse a scale that is not a finite number above 0."""
    largest = _LARGEST_WHOLE if isinstance(scale, int) else _LARGEST
    fine = is_number(scale) and 0 < scale <= largest
    advice = "use a finite number above 0 (the null twin is already in every run)"
    owner.require(fine, "scale", scale, advice)


def require_magnitude(
    owner: Perturbation, scale: object, relative_to: object, fraction: object
) -> None:
    """Refuse a magnitude that is not defined."""
    require_scale(owner, scale)
    known = get_args(RelativeTo)
    fine = isinstance(relative_to, str) and relative_to in known
    owner.require(fine, "relative_to", relative_to, nearest(str(relative_to), known))
    advice = "use a share above 0 and at most 1"
    owner.require(is_number(fraction) and 0 < fraction <= 1, "fraction", fraction, advice)


def size_of(tensor: Tensor) -> float:
    """Return a tensor's standard deviation, or its root mean square where that is 0 or undefined.

    A one-element tensor has no standard deviation and a constant one has 0; both have a size.

    >>> size_of(torch.tensor([2.0])), size_of(torch.zeros(3)), size_of(torch.tensor([3.0, 3.0]))
    (2.0, 0.0, 3.0)
    """
    values = tensor.detach().double()
    spread = float(values.std()) if values.numel() > 1 else 0.0
    return spread if spread > 0 else float(values.square().mean().sqrt()) if values.numel() else 0.0


def init_stds(params: Tensors) -> dict[str, float]:
    """Return the standard deviation of each tensor under Kaiming-normal initialisation.

    Weights of two axes and more have √(2/fan_in), fan_in being the product of all axes but
    the first; vectors and scalars take the value of the next weight (1/√n after the last one).
    Source: arXiv 2506.13234, section 3, and the authors' released code.

    >>> stds = init_stds({"weight": torch.zeros(3, 8), "bias": torch.zeros(4)})
    >>> stds["weight"], stds["bias"]
    (0.5, 0.5)
    """
    stds: dict[str, float] = {}
    following: float | None = None
    for name, tensor in reversed(list(params.items())):
        if tensor.dim() >= 2:
            following = math.sqrt(2.0 / max(1, math.prod(tensor.shape[1:])))
        own = following if following is not None else 1.0 / math.sqrt(max(1, tensor.numel()))
        stds[name] = own
    return {name: stds[name] for name in params}


def expected_init_norm(params: Tensors, chosen: Tensors | None = None) -> float:
    """Return E = √(Σ s² n), the expected L2 norm of the chosen tensors at initialisation.

    >>> round(expected_init_norm({"weight": torch.zeros(3, 8)}), 4)
    2.4495
    """
    stds = init_stds(params)
    kept = params if chosen is None else chosen
    return math.sqrt(sum(stds[name] ** 2 * t.numel() for name, t in kept.items()))


def masks(chosen: Tensors, fraction: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Choose ``round(fraction · N)`` of the N weights, at least one; 1 where chosen, else 0."""
    if fraction == 1.0:
        one = torch.ones((), dtype=torch.float64)
        return {name: one.expand(t.shape) for name, t in chosen.items()}
    total = sum(t.numel() for t in chosen.values())
    flat = torch.zeros(total, dtype=torch.float64)
    count = max(1, round(fraction * total))
    flat[torch.randperm(total, generator=generator)[:count]] = 1.0
    pieces = torch.split(flat, [t.numel() for t in chosen.values()])
    return {name: p.view(t.shape) for (name, t), p in zip(chosen.items(), pieces, strict=True)}


def reference_norm(
    params: Tensors, chosen: Tensors, mask: Tensors, relative_to: RelativeTo
) -> float:
    """Return the norm that the scale multiplies, over the weights that the mask keeps."""
    if relative_to == "absolute":
        return 1.0
    if relative_to == "norm":
        return norm({name: t.double() * mask[name] for name, t in chosen.items()})
    stds = init_stds(params)
    return math.sqrt(sum(stds[name] ** 2 * float(m.sum()) for name, m in mask.items()))


def norm(tensors: Tensors) -> float:
    """Return the L2 norm over all tensors, in float64."""
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors.values()))


def to_norm(tensors: Mapping[str, Tensor], target: float) -> dict[str, Tensor]:
    """Scale tensors together to a norm; a zero direction stays zero."""
    length = norm(tensors)
    factor = target / length if length > 0 else 0.0
    return {name: t * factor for name, t in tensors.items()}


def pick(chosen: Tensors, count: int, generator: torch.Generator) -> list[tuple[str, int]]:
    """Pick distinct weights at random, as (tensor name, place in the flattened tensor)."""
    sizes = torch.tensor([t.numel() for t in chosen.values()])
    ends = sizes.cumsum(0)
    places = torch.randperm(int(ends[-1]), generator=generator)[:count]
    owners = torch.searchsorted(ends, places, right=True)
    names, starts = list(chosen), ends - sizes
    return [(names[int(o)], int(p - starts[o])) for o, p in zip(owners, places, strict=True)]
