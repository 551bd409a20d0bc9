"""Models that cannot be trained as they are handed over are refused before compute, by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import wingbeat as wb
from wingbeat.errors import RequestError


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))


def called_once() -> nn.Module:
    model = lazy()
    model(torch.zeros(1, 3))
    return model


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return nn.Linear(3, 2)


def task(model: Callable[[], nn.Module]) -> wb.Task:
    inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    return wb.Task(
        model,
        lambda m, batch: m(batch[0]).square().mean(),
        (inputs,),
        lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=8,
        steps=4,
    )


@pytest.mark.parametrize(
    ("model", "named"),
    [(lazy, "'0.weight' has no shape yet"), (on_meta, "'weight' has no values")],
)
def test_a_model_without_values_is_refused(model: Callable[[], nn.Module], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        wb.run(task(model), wb.Gaussian(0.1), replicas=2, progress=False)


def test_a_lazy_model_that_was_called_is_trained_like_any() -> None:
    result = wb.run(task(called_once), wb.Gaussian(0.1), replicas=2, progress=False)
    assert result.noise_floor == 0.0
    torch.manual_seed(0)
    first = called_once()
    start = result.trajectory.at(0).params
    assert torch.equal(start["0.weight"][0], first[0].weight)  # type: ignore[index]
