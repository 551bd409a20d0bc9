"""Permutations that are known, found again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from wingbeat.calibration.check import ClosedForm, Placement, check
from wingbeat.symmetry import align, aligned_distance, permutation_spec

if TYPE_CHECKING:
    from collections.abc import Iterator


@check(
    "alignment",
    "hidden units shuffled at random, and aligned again",
    "Ainsworth et al., ICLR 2023",
)
def alignment(place: Placement) -> Iterator[ClosedForm]:
    """Compare found permutations with those applied, and what a shuffle does to outputs."""
    nets = {
        "dense": (_dense(), (8, 6)),
        "convolutional": (_convolutional(), (8, 2, 8, 8)),
    }
    for name, (model, shape) in nets.items():
        net = model.to(place.device, place.dtype)
        inputs = torch.randn(*shape, dtype=place.dtype, device=place.device)
        spec = permutation_spec(net, inputs)
        shuffle = spec.random(1)
        moved = shuffle.apply(net.state_dict())
        found = align(net, moved, spec)
        right = float(found == shuffle.inverse())
        yield ClosedForm(f"{name}: the permutation found is the one applied", 1.0, right, 0.0)
        left = aligned_distance(net, moved, spec)
        yield ClosedForm(f"{name}: distance left after alignment", 0.0, float(left), 0.0)
        with torch.no_grad():
            before = net(inputs)
            net.load_state_dict(moved)
            off = float((net(inputs) - before).abs().max() / before.abs().max())
        yield ClosedForm(f"{name}: outputs after a shuffle", 0.0, off, 100 * place.rounding)


def _dense() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 3)
    )


def _convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 12, 3, padding=1),
        nn.GroupNorm(3, 12),
        nn.ReLU(),
        nn.Conv2d(12, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 36, 4),
    )
