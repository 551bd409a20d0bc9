"""Factories that seed themselves are named before training, where another seed should matter."""

from __future__ import annotations

from typing import Any

import cases
import pytest
import torch
from torch import nn

import wingbeat as wb

LOADED = cases.dense().state_dict()


def own_seed() -> nn.Module:
    torch.manual_seed(42)
    return cases.dense()


def own_generator() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(42)
        return cases.dense()


def loaded() -> nn.Module:
    model = cases.dense()
    model.load_state_dict(LOADED)
    return model


def run(model: Any, perturbation: Any, **options: Any) -> wb.Result:
    task = cases.task("mlp", model=model, steps=3)
    return wb.run(task, perturbation, replicas=2, metrics=["l2"], progress=False, **options)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (own_seed, "Task.model seeds torch's generator itself"),
        (own_generator, "same weights under every seed"),
        (loaded, "same weights under every seed"),
    ],
)
def test_init_that_would_vary_nothing_is_refused(model: Any, said: str) -> None:
    with pytest.raises(wb.RequestError, match=said):
        run(model, wb.Init())


def test_several_seeds_of_a_factory_that_seeds_itself_are_refused() -> None:
    with pytest.raises(wb.RequestError, match="seeds torch's generator itself"):
        run(own_seed, wb.Gaussian(0.01), seeds=[0, 1])


def test_one_seed_is_asked_nothing() -> None:
    assert run(own_seed, wb.Gaussian(0.01)).noise_floor == 0.0


def test_loaded_weights_may_have_several_seeds_of_order_and_noise() -> None:
    result = run(loaded, wb.Gaussian(0.01), seeds=[0, 1])
    first, second = (t.at(3).params for t in result.trajectories.values())
    assert not all(torch.equal(first[k][0], second[k][0]) for k in first)


def test_an_ordinary_factory_varies() -> None:
    result = run(cases.dense, wb.Init())
    start = result.trajectory.at(0).params["0.weight"]
    assert not torch.equal(start[2], start[3])
