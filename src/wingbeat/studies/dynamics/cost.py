"""How long conditions of the study of training dynamics take, told before they are trained."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

import torch

from wingbeat.study.condition import Condition

UNIT_SECONDS: Final[dict[str, float]] = {
    "dense": 5e-6,
    "CNN Tiny": 1.5e-4,
    "CNN Small": 4.1e-4,
    "CNN Medium": 8.2e-4,
    "CNN Large": 1.7e-3,
    "CNN Deep": 9.4e-4,
    "GPT tiny": 3.2e-3,
    "GPT small": 1.7e-2,
    "GPT medium": 5.5e-2,  # not measured: in proportion to the weights of the blocks
}
"""Seconds per sample, epoch and replica on the machine of the published tables, evaluation
included."""
START_SECONDS: Final = 1.5
"""Seconds to prepare one condition there."""
MATRIX_SECONDS: Final = 0.0022
"""Seconds that the matrix product of ``speed`` takes there."""


def expected_seconds(left: Iterable[Condition]) -> float:
    """Return the processor time that conditions will take here, from one short measurement."""
    return sum(usual_seconds(condition) for condition in left) * speed() / MATRIX_SECONDS


def speed() -> float:
    """Return the seconds of one matrix product on one thread, the best of a few."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, best = torch.ones(512, 512), float("inf")
    for _ in range(8):
        begin = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - begin)
    torch.set_num_threads(threads)
    return best


def usual_seconds(condition: Condition) -> float:
    """Return the seconds that a condition takes on the machine of the published tables.

    Args:
        condition: of this study: its tags name the architecture, its arguments the epochs.
    """
    name = str(condition.tags["architecture"])
    unit = UNIT_SECONDS.get(name.replace("BERT", "GPT"), UNIT_SECONDS["dense"])
    samples, epochs = int(condition.arguments["samples"]), int(condition.arguments["epochs"])
    return START_SECONDS + unit * samples * epochs * (condition.replicas + 2)
