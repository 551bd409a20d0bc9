"""Large outputs are compared by digest: equal where the numbers are, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from wingbeat.replicas.drivers import marks
from wingbeat.replicas.drivers.marks import equal, mark

WEIGHTS = torch.arange(7.0).reshape(1, 7)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (WEIGHTS, WEIGHTS.clone(), True),
        (WEIGHTS, WEIGHTS.flip(1).flip(1), True),
        (WEIGHTS, WEIGHTS.nextafter(torch.tensor(torch.inf)), False),
        (WEIGHTS, WEIGHTS.double(), False),
        (torch.tensor([0.0, torch.nan]), torch.tensor([-0.0, torch.nan]), True),
        (torch.tensor([1, 2]), torch.tensor([1, 3]), False),
        (torch.tensor([True, False]), torch.tensor([True, True]), False),
    ],
)
def test_a_digest_tells_what_the_numbers_tell(a, b, same, monkeypatch):
    monkeypatch.setattr(marks, "LARGE", -1)
    monkeypatch.setattr(marks, "_LEAST", 0)
    monkeypatch.setattr(marks, "_BLOCK", 3)
    assert equal(mark([a]), mark([b])) is same
    assert all(len(found) == 32 and found.dtype == torch.uint8 for found in mark([a, b]))
