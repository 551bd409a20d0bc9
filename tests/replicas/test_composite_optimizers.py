"""Optimizers within optimizers, and their habits with closures, against loops by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import cases
import pytest
import torch
from driving import course, go_on, train
from test_handed_over import BITS, by_hand, holds
from torch import Tensor, nn, optim

import wingbeat as wb
from wingbeat.replicas.belongings import Belongings


class Ahead(optim.Optimizer):
    """Lookahead: slow weights in a dict by parameter, a count, and an inner optimizer."""

    def __init__(self, base: optim.Optimizer, every: int = 3) -> None:
        self.base, self.every, self.count = base, every, 0
        self.param_groups, self.state, self.defaults = base.param_groups, base.state, base.defaults
        self.slow: dict[Any, Tensor] = {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.base.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> Any:
        for p in (p for group in self.param_groups for p in group["params"]):
            self.slow.setdefault(p, p.detach().clone())
        loss = self.base.step(closure)
        self.count += 1
        if self.count % self.every == 0:
            with torch.no_grad():
                for p, slow in self.slow.items():
                    slow.add_(p - slow, alpha=0.5)
                    p.copy_(slow)
        return loss


class Pair:
    """Two optimizers in one object that is no optimizer of torch and has no groups."""

    def __init__(self, params: Any) -> None:
        params = list(params)
        self.parts = [
            optim.SGD([p for p in params if p.dim() > 1], lr=0.01, momentum=0.9),
            optim.AdamW([p for p in params if p.dim() < 2], lr=1e-3),
        ]

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        for part in self.parts:
            part.step()


class History(optim.Optimizer):
    """Keeps state in lists, tuples, deques of tensors, in numbers, and by ``id``."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.05})
        self.past: list[tuple[Tensor, ...]] = []
        self.by_id: dict[int, Tensor] = {}
        self.norm = complex(0, 0)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        own = [p for group in self.param_groups for p in group["params"]]
        self.past = [*self.past[-1:], tuple(p.grad.clone() for p in own)]
        self.norm += complex(1, float(own[0].norm()))
        for place, p in enumerate(own):
            mean = self.by_id.setdefault(id(p), torch.zeros_like(p))
            mean.mul_(0.9).add_(sum(row[place] for row in self.past))
            p.sub_(mean, alpha=self.param_groups[0]["lr"] / abs(self.norm))


def ahead(params: Any) -> Any:
    return Ahead(optim.Adam(params, lr=1e-3))


def hugging(params: Any, **options: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.Adafactor(params, **options)


MAKERS: dict[str, Callable[[Any], Any]] = {
    "lookahead": ahead,
    "lookahead over lookahead": lambda params: Ahead(ahead(params), 2),
    "two in one object": Pair,
    "history": History,
    "adafactor": partial(hugging, lr=1e-2, relative_step=False, scale_parameter=False),
    "adafactor without lr": partial(hugging, lr=None, warmup_init=True),
}
every_maker = pytest.mark.parametrize("name", MAKERS)


@every_maker
@pytest.mark.parametrize("problem", ["mlp-noisy", "cnn"])
def test_it_trains_as_by_hand(name: str, problem: str) -> None:
    task = cases.task(problem, MAKERS[name], steps=12)
    expected, _, _ = by_hand(task, MAKERS[name])
    holds(task, expected, "object", BITS)


@every_maker
def test_replicas_do_not_touch_each_other(name: str) -> None:
    task = cases.task("mlp-noisy", MAKERS[name], steps=9)
    alone = train(task, "object", perturbations=())[-1]
    many = train(task, "object", count=3)[-1]
    for key, value in alone.params.items():
        assert torch.equal(many.params[key][0], value[0])
        assert torch.equal(many.params[key][1], value[0])
        assert not torch.equal(many.params[key][2], many.params[key][3])


@every_maker
def test_a_saved_run_goes_on_with_the_same_bits(name: str) -> None:
    task = cases.task("mlp-noisy", MAKERS[name], steps=11)
    whole = train(task, "object", record=(5,))
    broken = course(task, "object", record=(5,))
    go_on(broken, 6)
    tensors, facts = broken.save()
    fresh = course(task, "object", record=(5,))
    fresh.restore({k: t.clone() for k, t in tensors.items()}, facts)
    found = go_on(fresh, task.steps)[-1]
    for key, value in whole[-1].params.items():
        assert torch.equal(found.params[key], value)


@every_maker
def test_a_run_says_which_object_trains(name: str) -> None:
    task = cases.task("mlp", MAKERS[name], steps=5)
    result = wb.run(task, wb.Gaussian(0.01), replicas=2, metrics=["l2"], progress=False)
    assert (result.environment["mode"], result.noise_floor) == ("object", 0.0)
    assert result.warnings == ()


def test_a_checkpoint_in_the_factory_is_not_changed() -> None:
    make = partial(optim.Adamax, lr=1e-3)
    _, optimizer, _ = by_hand(cases.task("mlp", make, steps=5), make)
    state = optimizer.state_dict()
    before = copy.deepcopy(state)

    def loaded(params: Any) -> Any:
        own = make(params)
        own.load_state_dict(state)
        return own

    train(cases.task("mlp", loaded, steps=5), "object", dtype=torch.float64)
    for place, own in before["state"].items():
        for key, value in own.items():
            assert torch.equal(torch.as_tensor(state["state"][place][key]), torch.as_tensor(value))


SHARED: list[Tensor] = []


class Leaking(optim.SGD):
    """Remembers in a global what it saw last."""

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        own = self.param_groups[0]["params"][0]
        with torch.no_grad():
            if SHARED:
                own.add_(SHARED[-1], alpha=0.01)
            SHARED[:] = [own.detach().clone()]
        return loss


class Failing(optim.SGD):
    def step(self, closure: Any = None) -> Any:
        raise ValueError("needs the loss of the epoch")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (partial(Leaking, lr=0.1), "Leaking keeps something between steps"),
        (
            partial(Failing, lr=0.1),
            "in a trial before training: Failing.step fails.*needs the loss of the epoch",
        ),
    ],
)
def test_what_cannot_serve_replicas_is_refused_by_name(make: Any, said: str) -> None:
    SHARED.clear()
    with pytest.raises(wb.RequestError, match=said):
        wb.run(cases.task("mlp", make, steps=6), replicas=1, metrics=["l2"], progress=False)


def test_a_schedule_for_an_optimizer_without_a_rate_is_refused() -> None:
    make = partial(hugging, lr=None)
    task = cases.task("mlp", make, steps=6, schedule=lambda step: 1.0)
    with pytest.raises(wb.RequestError, match="Adafactor has no learning rate"):
        wb.run(task, replicas=1, metrics=["l2"], progress=False)


def test_what_one_reads_the_other_holds() -> None:
    """A walk there and back keeps identities: borrowed groups stay one object."""
    model = nn.Linear(2, 1)
    owner = ahead(model.parameters())
    belongings = Belongings(owner, model)
    model(torch.ones(1, 2)).sum().backward()
    before = belongings.gather()
    before = {k: t.clone() for k, t in before.items()}
    owner.step()
    after = {k: t.clone() for k, t in belongings.gather().items()}
    belongings.put_back(before)
    assert owner.count == 0
    assert not owner.state
    belongings.put_back(after)
    assert owner.count == 1
    assert owner.param_groups is owner.base.param_groups
    assert owner.state is owner.base.state
    assert set(owner.slow) == set(model.parameters())
    again = belongings.gather()
    assert all(torch.equal(again[k], t) for k, t in after.items())
