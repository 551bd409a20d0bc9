"""What is traced is what torch traces by itself, with the same note of every value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.fx.experimental import proxy_tensor
from torch.utils._python_dispatch import TorchDispatchMode

from wingbeat.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Callable

NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).eval()

OUTSIDE = torch.arange(3.0)


def step(weight: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of a net's loss in one of its tensors, for a stack of them."""

    def loss(w: Tensor) -> Tensor:
        return functional_call(NET, {"3.weight": w}, (x,)).square().mean()

    return vmap(grad(loss))(weight)


CASES: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "a stacked gradient": (step, (torch.ones(3, 2, 8), torch.ones(2, 1, 4, 4))),
    "several outputs": (lambda x: x.sort(), (torch.ones(2, 3),)),
    "types and strides": (lambda x: x.t().double() > x.sum(), (torch.ones(2, 3),)),
    "channels last": (
        lambda x: x.relu(),
        (torch.ones(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),),
    ),
    "a number": (lambda x: x * 2.5 + 1, (torch.ones(()),)),
    "several pieces": (lambda x: [2 * a for a in x.split([1, 2])], (torch.ones(3, 2),)),
    "lists": (lambda x: torch.cat([x, torch.stack([x[0], x[1]])]), (torch.ones(2, 3),)),
    "in place": (lambda x: x.clone().add_(x).mul_(x[0]).view(-1), (torch.ones(2, 3),)),
    "a leaf written": (lambda x: x.add_(1) + x, (torch.ones(2, 3),)),
    "what is no argument": (lambda x: x + OUTSIDE + NET[3].weight.sum(), (torch.ones(2, 3),)),
    "a constant": (lambda x: x * torch.tensor([2.0]).add_(1).item(), (torch.ones(2, 3),)),
    "made of numbers": (lambda x: x + torch.arange(3) + torch.full((3,), 0.5), (torch.ones(3),)),
    "masks": (lambda x: torch.dropout(x, 0.5, train=True), (torch.ones(2, 3),)),
    "no gradients wanted": (
        torch.inference_mode()(lambda x: torch.matmul(x, x.mT).flatten(1)),
        (torch.ones(4, 2, 3),),
    ),
    "twice the same": (lambda x: (x, x + 1, x), (torch.ones(2, 3),)),
    "sparse": (lambda x: x.to_sparse().to_dense() + 1, (torch.eye(3),)),
}


def notes(graph: torch.fx.GraphModule) -> list[Any]:
    """Return what is known of the value of every node."""

    def one(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return [one(v) for v in value]
        if not isinstance(value, Tensor):
            return value
        return type(value), value.shape, value.stride(), value.dtype, value.device

    return [(node.op, str(node.target), one(node.meta.get("val"))) for node in graph.graph.nodes]


class Meeting(TorchDispatchMode):
    """Lets every operation pass, within a trace or around it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CASES)
def test_code_and_notes_are_torchs_own(name: str) -> None:
    function, leaves = CASES[name]
    ours, torchs = trace(function, *leaves), proxy_tensor.make_fx(function)(*leaves)
    assert ours.code == torchs.code
    assert notes(ours) == notes(torchs)


def test_an_error_leaves_torch_as_it_was() -> None:
    before = proxy_tensor.extract_val

    def broken(x: Tensor) -> Tensor:
        assert proxy_tensor.extract_val is not before
        return x @ x

    with pytest.raises(RuntimeError):
        trace(broken, torch.ones(2, 3))
    assert proxy_tensor.extract_val is before


def test_what_is_refused_by_torch_is_refused() -> None:
    with pytest.raises(RuntimeError, match="value out of a tracing tensor"):
        trace(lambda x: x * x.sum().item(), torch.ones(2))


def test_another_mode_sees_every_operation() -> None:
    def inside(x: Tensor) -> Tensor:
        with Meeting():
            return (x + 1).sum()

    assert trace(inside, torch.ones(2)).code == proxy_tensor.make_fx(inside)(torch.ones(2)).code
