"""Loss and scores of one forward pass are those of two, wherever the second would be the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from wingbeat.task.predictions import loss_and_scores

X, Y = torch.linspace(-1, 1, 12).reshape(4, 3), torch.tensor([0, 1, 1, 0])


class Counted(nn.Linear):
    """A layer that counts its calls; with ``noise`` it draws, as dropout left on does."""

    def __init__(self, noise: bool = False) -> None:
        super().__init__(3, 2)
        self.calls, self.noise = 0, noise

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """Return scores."""
        self.calls += 1
        return super().forward(x) * scale + (torch.randn(2) if self.noise else 0)


def entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def in_place(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]).mul_(2), batch[1])


def doubled(model: nn.Module, batch: Any) -> Tensor:
    return model(batch[0]) * 2


def hooked() -> nn.Module:
    model = Counted()
    model.register_forward_hook(lambda _, inputs, output: output + 1)
    return model


CASES: dict[str, tuple[Any, Any, Any, int]] = {
    "no predict": (Counted, entropy, None, 1),
    "scores of the output": (Counted, entropy, doubled, 1),
    "other arguments": (Counted, entropy, lambda m, b: m(b[0], scale=3.0), 2),
    "other inputs": (Counted, entropy, lambda m, b: m(b[0] + 1), 2),
    "a loss that changes the output": (Counted, in_place, doubled, 2),
    "a loss that does not call the model so": (
        Counted,
        lambda m, b: m(b[0].clone()).mean(),
        doubled,
        2,
    ),
    "random numbers": (lambda: Counted(noise=True), entropy, doubled, 2),
    "a hook that changes the output": (hooked, entropy, doubled, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_a_second_pass(name: str) -> None:
    make, loss, predict, calls = CASES[name]
    torch.manual_seed(0)
    model = make()
    task: Any = SimpleNamespace(loss=loss, predict=predict)
    torch.manual_seed(1)
    expected = loss(model, (X, Y))
    scores = (predict or (lambda m, b: m(b[0])))(model, (X, Y))
    model.calls = 0
    torch.manual_seed(1)
    found = loss_and_scores(task, model, (X, Y))
    assert torch.equal(found[0], expected)
    assert found[1] is not None
    assert torch.equal(found[1], scores)
    assert model.calls == calls
    assert "forward" not in vars(model)


def test_a_predict_that_fails_leaves_the_model_as_it_was() -> None:
    model = Counted()

    def fails(model: nn.Module, batch: Any) -> Tensor:
        raise ValueError(float(model(batch[0]).detach().sum()))

    with pytest.raises(ValueError, match=r"\d"):
        loss_and_scores(SimpleNamespace(loss=entropy, predict=fails), model, (X, Y))  # type: ignore[arg-type]
    assert "forward" not in vars(model)
    assert torch.equal(model(X), F.linear(X, model.weight, model.bias))


def test_a_stack_is_evaluated_likewise() -> None:
    model, weights = Counted(), torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    task: Any = SimpleNamespace(loss=entropy, predict=doubled)

    def one(weight: Tensor) -> tuple[Tensor, Tensor | None]:
        parts = {"weight": weight, "bias": torch.zeros(2)}
        called = SimpleModel(model, parts)
        return loss_and_scores(task, called, (X, Y))

    losses, scores = vmap(one)(weights)
    for weight, loss, own in zip(weights, losses, scores, strict=True):
        assert torch.allclose(own, 2 * X @ weight.T)
        assert torch.allclose(loss, F.cross_entropy(X @ weight.T, Y))


class SimpleModel(nn.Module):
    """A model with tensors put in its place, as functional calls do."""

    def __init__(self, model: nn.Module, parts: dict[str, Tensor]) -> None:
        super().__init__()
        self.inner, self.parts = [model], parts

    def forward(self, x: Tensor) -> Any:
        """Call it."""
        return torch.func.functional_call(self.inner[0], self.parts, (x,))
