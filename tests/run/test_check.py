"""``wb.check``: one call is the same as the task written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from run.tasks import entropy, plain_net, points
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import wingbeat as wb

QUICK = {"steps": 8, "driver": "loop", "metrics": ["l2"], "progress": False}


def adamw(params: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr=1e-3)


def written_out(**source: Any) -> wb.Result:
    task = wb.Task(model=plain_net, loss=entropy, optimizer=adamw, steps=8, **source)
    options = {"driver": "loop", "metrics": ["l2"], "progress": False}
    return wb.run(task, wb.Gaussian(0.01), replicas=5, **options)


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(*points()), batch_size=16, shuffle=True)


LOSSES = {"a loss": entropy, "a criterion": nn.CrossEntropyLoss(),
          "a function of torch": nn.functional.cross_entropy}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_loader(name: str) -> None:
    found, known = (
        wb.check(plain_net, LOSSES[name], loader(), **QUICK),
        written_out(batches=loader()),
    )
    assert found.table.equals(known.table)
    assert found.noise_floor == 0.0
    assert found.condition["replicas"] == 5


def test_tensors_and_data_sets_are_cut_into_batches_of_32() -> None:
    known = written_out(data=points(), batch_size=32)
    assert wb.check(plain_net, entropy, points(), **QUICK).table.equals(known.table)
    own = TensorDataset(*points())
    assert wb.check(plain_net, entropy, own, **QUICK).table.equals(known.table)


def test_a_model_that_is_built_is_copied_and_left_as_it_was() -> None:
    model = plain_net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = wb.check(model, entropy, loader(), accumulate=2, **QUICK)
    assert found.condition["task"]["accumulate"] == 2
    first = found.trajectory.at(0).params
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)
        assert torch.equal(first[name][0], value)
