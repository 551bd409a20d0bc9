"""Nine discs in a plane: data whose pieces and holes are known."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from wingbeat.errors import require
from wingbeat.tasks.data.sklearn import Labelled

SIDE: Final = 10.0
"""The plane reaches from −10 to 10."""
RADIUS: Final = 1.3
RING: Final = 7.0
"""Eight centres lie on a circle of this radius, the ninth in its middle."""


def nine_discs(step: float = 0.19, margin: float = 0.5) -> Labelled:
    """Return a grid of points, those inside of nine discs and those outside of all.

    Args:
        step: between points of the grid; about 10,000 points at 0.19.
        margin: around each disc in which there are none.

    Returns:
        Points ``(n, 2)`` float32 in [−10, 10] and labels ``(n,)`` int64: 1 inside, nine pieces
        without a hole; 0 outside, one piece with nine holes.

    Raises:
        RequestError: a step that is not positive, or a margin below 0.

    Source:
        Naitzat, Zhitnikov and Lim, "Topology of deep neural networks", JMLR 21 (2020), data D-I.

    Example:
        >>> points, labels = nine_discs()
        >>> tuple(points.shape), labels.bincount().tolist()
        ((10050, 2), [8706, 1344])
    """
    require(step > 0, "step", step, "use a positive one")
    require(margin >= 0, "margin", margin, "use at least 0")
    axis = np.arange(-SIDE, SIDE + step / 2, step)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    turn = 2 * np.pi * np.arange(8) / 8
    centres = np.concatenate([RING * np.c_[np.cos(turn), np.sin(turn)], [[0.0, 0.0]]])
    nearest = np.linalg.norm(points[:, None] - centres, axis=-1).min(axis=1)
    kept = (nearest <= RADIUS) | (nearest > RADIUS + margin)
    inside = (nearest <= RADIUS)[kept].astype(np.int64)
    return torch.from_numpy(points[kept].astype(np.float32)), torch.from_numpy(inside)
