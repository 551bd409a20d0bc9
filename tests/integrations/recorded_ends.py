"""What a fork kept of a copy's last step, against what a trainer by itself ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file

Weights = dict[str, torch.Tensor]


class Ended(Protocol):
    """A training by hand that is over."""

    step: int
    weights: Weights


def last(folder: Path) -> tuple[int, Weights]:
    """Return the last step of which a copy's weights were kept, and these."""
    found = {int(p.stem.removeprefix("step-")): p for p in folder.glob("step-*.safetensors")}
    return max(found), load_file(found[max(found)])


def same(found: tuple[int, Weights], wanted: Ended) -> bool:
    """Tell whether a copy ended at the same step with the same bits."""
    step, weights = found
    return step == wanted.step and all(torch.equal(weights[n], wanted.weights[n]) for n in weights)
