"""A replayed recording gives the function's bits, and writes into nothing that is not its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap

from wingbeat.replicas.aliases import returned, written
from wingbeat.replicas.drivers.one_call import in_one_call
from wingbeat.replicas.drivers.replay import replay
from wingbeat.replicas.simplify import simplify
from wingbeat.tracing import trace

Step = "Callable[..., list[Tensor]]"


def entropy(w: Tensor, b: Tensor, x: Tensor, y: Tensor) -> list[Tensor]:
    """A stack of classifiers takes a step with momentum-like sums, one of which is returned."""

    def loss(w: Tensor, b: Tensor) -> Tensor:
        return F.cross_entropy(torch.relu(x @ w + b), y)

    dw, db = vmap(grad(loss, argnums=(0, 1)))(w, b)
    total = w * 0.9 + dw
    return [w - total * 0.1 / (torch.sqrt(dw * dw) + 1e-3), b - db * 0.1, total]


def dropped(x: Tensor) -> list[Tensor]:
    return [F.dropout(x, 0.5) * 2 + F.dropout(x, 0.5)]


def written_between(x: Tensor) -> list[Tensor]:
    """The same sum before and after its argument has changed, through the tensor it is part of."""
    y = x * 2
    row = y[0]
    before = row + 1
    y.add_(3)
    return [before * (row + 1)]


def view_of_an_argument(x: Tensor) -> list[Tensor]:
    """What nobody needs any more is the caller's memory."""
    return [torch.where(x.unsqueeze(1) > 0, x.unsqueeze(1), 0.0) * 3]


def view_returned(x: Tensor) -> list[Tensor]:
    y = x + 1
    z = y.t()
    return [y * 2, z]


def numbers_alike(x: Tensor) -> list[Tensor]:
    """Zeros with a sign, and numbers of several types that are equal."""
    signs = torch.copysign(torch.ones_like(x), x * 0.0 + torch.full_like(x, -0.0))
    return [signs, torch.copysign(torch.ones_like(x), torch.full_like(x, 0.0)), x + 1, x + 1.0]


def several(x: Tensor) -> list[Tensor]:
    a, b = x.split([1, 2], 1)
    values, places = (b - a).sort(dim=1)
    return [values + 1, places + 1, torch.zeros(2) + torch.arange(2)]


def constant_handed_out(x: Tensor) -> list[Tensor]:
    return [torch.zeros_like(x), torch.ones(2, 2).t(), x * torch.ones_like(x)]


def last_channels(x: Tensor) -> list[Tensor]:
    y = F.conv2d(x, torch.ones(2, 2, 1, 1))
    return [(y + 1) * 2, y.relu() - y]


def wider(x: Tensor) -> list[Tensor]:
    """The result is of another type or shape than what is over."""
    y = x * 2
    return [(y > 1) * y.double(), x.sum(0) * 2 + (x + 1), torch.maximum(x * 3, x[:1])]


def of_numbers(x: Tensor) -> list[Tensor]:
    """A number of Python's widens no tensor, not even one without axes or of whole numbers."""
    whole, alone = torch.arange(3), x.sum()
    found = [whole * 0.3, alone * 0.1, alone / 3 - 0.7, (whole > 0.5) * 1.5, x.half() * 0.1]
    return [tensor.reshape(-1) * 3 for tensor in found]


def of_a_held_tensor(x: Tensor) -> list[Tensor]:
    return [x * HELD + HELD]


HELD = torch.tensor([[1.0, -2.0, 0.5]])
X = torch.linspace(-2, 2, 6).reshape(2, 3)
IMAGES = torch.linspace(-2, 2, 32).reshape(2, 2, 2, 4).contiguous(memory_format=torch.channels_last)
CASES: dict[str, tuple[Any, tuple[Tensor, ...]]] = {
    "a classifier's step": (
        entropy,
        (torch.ones(3, 4, 5), torch.zeros(3, 5), torch.randn(7, 4), torch.arange(7) % 5),
    ),
    "random numbers": (dropped, (X,)),
    "written between": (written_between, (X,)),
    "a view of an argument": (view_of_an_argument, (X,)),
    "a view is returned": (view_returned, (X,)),
    "numbers that are equal": (numbers_alike, (X,)),
    "several results": (several, (X,)),
    "constants are returned": (constant_handed_out, (X,)),
    "channels last": (last_channels, (IMAGES,)),
    "another type or shape": (wider, (X,)),
    "numbers and tensors": (of_numbers, (X,)),
    "a tensor of its own": (of_a_held_tensor, (X,)),
}


@pytest.fixture(
    params=[(name, way) for name in CASES for way in ("python", "one call")], name="case"
)
def _case(request: pytest.FixtureRequest) -> tuple[Any, list[Tensor], Any]:
    name, way = request.param
    function, leaves = CASES[name]
    given = [leaf.clone() for leaf in leaves]
    program = replay(simplify(trace(function, *given)), given)
    if way == "python":
        return function, given, program
    called = in_one_call(program, given)
    assert called is not program
    return function, given, called


def bits(tensors: list[Tensor]) -> list[Any]:
    whole = [t.contiguous() for t in tensors]
    return [(t.shape, t.dtype, o.stride(), t.view(torch.uint8).tolist()) for t, o in
            zip(whole, tensors, strict=True)]  # fmt: skip


def test_it_gives_the_functions_bits(case: tuple[Any, list[Tensor], Any]) -> None:
    function, leaves, program = case
    for shift in (0.0, 0.3):
        given = [t + shift if t.is_floating_point() else t for t in leaves]
        torch.manual_seed(1)
        expected = bits(function(*(t.clone() for t in given)))
        torch.manual_seed(1)
        assert bits(program(*given)) == expected


def test_nothing_of_the_callers_is_written_into(case: tuple[Any, list[Tensor], Any]) -> None:
    _, leaves, program = case
    before = bits(leaves)
    first = program(*leaves)
    kept = bits(first)
    assert bits(leaves) == before
    for tensor in program(*leaves):
        tensor.zero_()
    assert bits(first) == kept
    assert bits(leaves) == before
    torch.manual_seed(1)
    again = bits(program(*leaves))
    torch.manual_seed(1)
    assert bits(program(*leaves)) == again  # no constant was handed out


def test_memory_is_written_anew_and_torchs_functions_are_called() -> None:
    function, leaves = CASES["a classifier's step"]
    program = replay(simplify(trace(function, *leaves)), list(leaves))
    nodes = program.__self__.graph.nodes  # type: ignore[attr-defined]
    called = [getattr(n.target, "__name__", n.target) for n in nodes if n.op.startswith("call")]
    assert {"add_", "mul_", "bmm", "view"} <= {*called}
    assert any("out" in n.kwargs for n in nodes)
    assert not any("zeros_like" in str(name) for name in called)


def test_a_repeat_is_made_once_unless_its_argument_has_changed() -> None:
    twice = simplify(trace(lambda x: (x * 2 + 1) / (x * 2 + 1), X))
    assert [str(n.target) for n in twice.graph.nodes if n.op == "call_function"] == [
        "aten.mul.Tensor",
        "aten.add.Tensor",
        "aten.div.Tensor",
    ]
    changed = simplify(trace(written_between, X))
    assert sum("aten.add.Tensor" in str(n.target) for n in changed.graph.nodes) == 2


def test_draws_are_no_repeats() -> None:
    graph = simplify(trace(lambda x: [torch.rand_like(x), torch.rand_like(x) + 0], X)).graph
    assert sum("rand_like" in str(n.target) for n in graph.nodes) == 2


def test_values_that_are_written_or_returned_are_known_through_views() -> None:
    graph = trace(lambda x: [(x + 1).t()[0].add_(1) * 2, (x * 3).t()], X).graph
    names = {node.name for node in written(graph)}
    assert {"add", "t", "select", "add_"} <= names
    assert not names & {"x_1", "mul", "mul_1"}
    assert {node.name for node in returned(graph)} == {"mul", "mul_1", "t_1"}


def test_a_large_step_is_left_as_it_is() -> None:
    large = torch.ones(1 << 22, 2, dtype=torch.uint8)
    graph = trace(lambda x: [x + 1], large)
    assert replay(graph, [large]) == graph.forward
