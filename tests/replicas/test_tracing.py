"""What is traced is what torch traces by itself, with the same note of every value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.fx.experimental import proxy_tensor

from wingbeat.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Callable

NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).eval()


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
