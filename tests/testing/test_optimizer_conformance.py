"""Our pure forms pass the suite that we publish, and the suite fails a form that is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from wingbeat.task.optimizers import OPTIMIZERS, Sgd, pure_form
from wingbeat.testing.optimizers import OptimizerConformance


class TestAdamW(OptimizerConformance):
    def make_optimizer(self, parameters):
        return torch.optim.AdamW(parameters, lr=0.001, weight_decay=0.1)


class TestMomentum(OptimizerConformance):
    def make_optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, dampening=0.3)


class Halved(torch.optim.SGD):
    """Steps half as far as its options say."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = p.grad / 2
        return super().step(closure)


@pytest.fixture
def wrong_form():
    @pure_form(Halved)
    @dataclass(frozen=True)
    class NotHalved(Sgd):
        def natural_scale(self, params, slots):
            return {"parameters": params}

    yield
    OPTIMIZERS._things = {k: v for k, v in OPTIMIZERS._things.items() if v is not NotHalved}


@pytest.mark.usefixtures("wrong_form")
def test_a_wrong_form_fails():
    class Wrong(OptimizerConformance):
        def make_optimizer(self, parameters):
            return Halved(parameters, lr=0.05, momentum=0.9)

    for name in (
        "test_the_same_weights_as_the_object",
        "test_a_loaded_state_goes_on",
        "test_units_and_scale_are_of_the_weights_shape",
    ):
        with pytest.raises(AssertionError):
            getattr(Wrong(), name)()
    Wrong().test_replicas_are_single_runs_bit_for_bit()
