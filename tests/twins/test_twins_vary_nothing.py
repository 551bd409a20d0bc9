"""A source of noise that a loop does not have: its change is named, and no other one is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loops import _data
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

import wingbeat as wb


def build(seed: int) -> dict[str, Any]:
    model = nn.Linear(6, 2)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}


def shuffled() -> DataLoader[Any]:
    return DataLoader(_data(), batch_size=20, shuffle=True)


def own_seed() -> DataLoader[Any]:
    data = _data()
    return DataLoader(data, batch_size=20, sampler=DistributedSampler(data, 1, 0))


CASES = {
    "order of its own seed": (own_seed, wb.DataOrder(1), "sampler has a seed of its own"),
    "not shuffled": (lambda: DataLoader(_data(), batch_size=20), wb.DataOrder(1), "not shuffle"),
    "shuffled": (shuffled, wb.DataOrder(1), ""),
    "no augmentation": (shuffled, wb.Augmentation(), "fetching a batch draws nothing"),
    "no dropout": (shuffled, wb.Dropout(at=2), "nothing is drawn within a step"),
    "nudged": (shuffled, wb.Gaussian(0.1), ""),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_there_to_be_varied_is_named(case: str) -> None:
    loader, perturbation, words = CASES[case]
    twins = wb.Twins(build, perturbation, steps=6, replicas=2)
    for copy in twins:
        for x, y in copy.batches(loader()):
            loss = nn.functional.cross_entropy(copy.model(x), y)
            copy.parts["optimizer"].zero_grad()
            loss.backward()
            copy.parts["optimizer"].step()
            copy.step(loss)
    result = twins.result()
    said = [w for w in result.warnings if "varied nothing" in w]
    assert len(said) == bool(words)
    assert all(words in w and w.startswith(perturbation.label) for w in said)
    apart = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
    ends = apart[(apart.step == 6) & (apart.b != "null")].value
    assert (ends == 0).all() if words else (ends > 0).all()
