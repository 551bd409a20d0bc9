"""All architectures that can be built here, by name."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec

import torch

from benchmarks.architectures import by_hand, language, vision
from benchmarks.architectures.case import Case


def every() -> dict[str, Case]:
    """Return the architectures in the order of the table."""
    if find_spec("torchvision"):
        _operators()
    cases = [*by_hand.cases(), *vision.cases(), *language.cases()]
    return {case.name: case for case in cases}


@cache
def _operators() -> torch.library.Library | None:
    """Declare torchvision's operators for boxes where its compiled part does not fit this torch.

    No model here calls them, but torchvision, timm and transformers cannot be imported without.
    """
    try:
        import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None
