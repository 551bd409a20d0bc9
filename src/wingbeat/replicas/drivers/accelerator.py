"""What has to be known of an accelerator to time a step on it, and to compare two of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import nn

if TYPE_CHECKING:
    from wingbeat.task.step import TrainingStep


_CUDNN: Final = (nn.modules.conv._ConvNd, nn.RNNBase)
"""Modules whose products cuDNN makes, in TF32 unless it is told otherwise."""


def finish(device: torch.device) -> None:
    """Wait for what an accelerator was asked to do; a clock shows nothing of it before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def rounding_of_products(step: TrainingStep) -> float:
    """Return by how much of a loss products may differ where a GPU rounds their factors (TF32).

    Such a factor keeps ten binary digits. The tolerance is two of their roundings: a stack may
    run through other kernels than one replica, and sums over many products are closer than each.
    """
    if step.device.type != "cuda" or step.dtype != torch.float32:
        return 0.0
    convolves = any(isinstance(m, _CUDNN) for m in step.skeleton.modules())
    coarse = torch.backends.cuda.matmul.allow_tf32
    coarse = coarse or (convolves and torch.backends.cudnn.allow_tf32)
    return 2 * 2.0**-10 if coarse else 0.0
