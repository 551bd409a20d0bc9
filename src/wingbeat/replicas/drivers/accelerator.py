"""What has to be known of an accelerator to time a step on it, and to compare two of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from wingbeat.task.step import TrainingStep


def finish(device: torch.device) -> None:
    """Wait for what an accelerator was asked to do; a clock shows nothing of it before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def rounding_of_products(step: TrainingStep) -> float:
    """Return by how much of a loss products may differ where a GPU rounds their factors (TF32).

    Such a factor keeps ten binary digits. The tolerance is eight of their roundings: a stack may
    run through other kernels than one replica.
    """
    rounded = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    coarse = step.device.type == "cuda" and step.dtype == torch.float32 and rounded
    return 8 * 2.0**-10 if coarse else 0.0
