"""One recorded step for several groups of replicas, each with batch, noise and rates of its own.

A recording advances one stack of replicas over one batch. Here it is vectorised once more, over
groups: other base seeds, other orders of the data, other learning rates. Random operations are
taken out of it and drawn for each group under its own seed, so that no mask depends on who else
is in the call.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.func import vmap
from torch.fx import Graph, GraphModule, Node

from wingbeat.determinism import seed_torch
from wingbeat.errors import DriverError
from wingbeat.replicas.aliases import is_random
from wingbeat.replicas.drivers.one_call import in_one_call
from wingbeat.replicas.drivers.replay import replay
from wingbeat.replicas.simplify import simplify
from wingbeat.task.batches import sent
from wingbeat.tracing import trace

if TYPE_CHECKING:
    from torch import Tensor

aten = torch.ops.aten
_BLANK: Final = frozenset(
    (
        *(aten.empty.memory_format, aten.empty_like.default, aten.new_empty.default),
        *(aten.empty_strided.default, aten.new_empty_strided.default),
    )
)
"""Operations whose result has a shape and no values, for random ones to fill."""
_VIEWS: Final = frozenset((aten.permute.default, aten.transpose.int, aten.view.default))
_LIKE: Final = frozenset(
    (aten.rand_like.default, aten.randn_like.default, aten.bernoulli.p, aten.bernoulli_.float)
)
"""Random operations that read nothing of their first argument but its shape."""

_LOSSES: Final = frozenset(
    (aten.mse_loss.default, aten.huber_loss.default, aten.smooth_l1_loss.default)
)
"""Element by element where they do not reduce; their rules for a further axis (torch 2.13) flatten
it before they broadcast."""


class Groups:
    """A recorded step over a leading axis of groups.

    Args:
        recorded: of one group.
        leaves: of one group, as the recording takes them: state, batch, coefficients.
        count: groups.

    Attributes:
        draws: whether the step draws random numbers.

    Raises:
        DriverError: the step cannot be vectorised once more, or what it draws depends on data.
    """

    def __init__(self, recorded: GraphModule, leaves: Sequence[Tensor], count: int) -> None:
        self.count, self._device = count, leaves[0].device
        pure, self._drawn = _lifted(recorded)
        self.draws = self._drawn is not None
        mapped = vmap(pure.forward)

        def flat(*tensors: Tensor) -> list[Tensor]:
            return list(mapped(*tensors))

        stacks = self._here([torch.stack([leaf] * count) for leaf in leaves])
        example = [*stacks, *self._draw([0] * count)]
        try:
            program = replay(simplify(trace(flat, *example)), example)
            self._run = in_one_call(program, example)
        except Exception as error:  # whatever a second axis does to a recording
            msg = f"the step cannot be recorded for several groups: {error}"
            raise DriverError(msg) from error

    def __call__(
        self, own: Sequence[Tensor], coefficients: Sequence[Tensor], seeds: Sequence[int]
    ) -> list[Tensor]:
        """Advance all groups.

        Args:
            own: state and batch, each ``(groups, …)``.
            coefficients: of each group's update, each ``(groups,)``.
            seeds: of each group's random numbers at this step; not looked at where none is drawn.

        Returns:
            State and losses, each ``(groups, replicas, …)``.
        """
        rest = self._here(coefficients)
        found: list[Tensor] = self._run(*own, *rest, *self._draw(seeds))
        return found

    def _here(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return tensors on the device of the state: one number may lie elsewhere, several not."""
        if self._device.type == "cpu":
            return tensors
        return [sent(t, self._device) if t.device.type == "cpu" else t for t in tensors]

    def _draw(self, seeds: Sequence[int]) -> list[Tensor]:
        if self._drawn is None:
            return []
        return [torch.stack(drawn) for drawn in zip(*map(self._masks, seeds), strict=True)]

    def _masks(self, seed: int) -> list[Tensor]:
        """Return what one group draws at a step, in the order of the recording."""
        if self._drawn is None:
            return []
        seed_torch(seed)
        found: list[Tensor] = self._drawn.forward()
        return found


def _lifted(recorded: GraphModule) -> tuple[GraphModule, GraphModule | None]:
    """Return a recording that is handed its random numbers, and another that draws them.

    Raises:
        DriverError: a draw depends on data.
    """
    graph = copy.deepcopy(recorded.graph)
    for node in [n for n in graph.nodes if n.target in _LOSSES]:
        _broadcast(graph, node)
    random = [node for node in graph.nodes if is_random(node)]
    draws, made = Graph(), dict[Node, Node]()
    results = [_draw_into(draws, node, made) for node in random]
    draws.output(results)
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for place, node in enumerate(random):
        with graph.inserting_after(last):
            last = graph.placeholder(f"drawn_{place}")
        node.replace_all_uses_with(last)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    pure = GraphModule(recorded, graph)
    return pure, GraphModule(torch.nn.Module(), draws) if random else None


def _broadcast(graph: Graph, node: Node) -> None:
    """Give both arguments of an operation their common shape first."""
    values = [a.meta["val"] for a in node.args[:2]]  # type: ignore[union-attr]
    shape = torch.broadcast_shapes(*(v.shape for v in values))  # type: ignore[no-untyped-call]
    for place, value in enumerate(values):
        if value.shape != shape:
            with graph.inserting_before(node):
                wide = graph.call_function(
                    aten.expand.default,
                    (node.args[place], list(shape)),
                )
            node.update_arg(place, wide)


def _draw_into(draws: Graph, node: Node, made: dict[Node, Node]) -> Node:
    """Copy a random operation into a graph of its own, on a tensor without values."""
    first = node.args[0] if node.args else None
    others = [a for a in (*node.args[1:], *node.kwargs.values()) if isinstance(a, Node)]
    blank = first is None or not isinstance(first, Node)
    like = isinstance(first, Node) and node.target in _LIKE and _may_be_blank(node, first)
    if others or not (blank or like):
        msg = f"what {node.target} draws depends on data, so that groups cannot share a step"
        raise DriverError(msg)
    args: list[Any] = list(node.args)
    if isinstance(first, Node):
        value = first.meta["val"]
        options = {"dtype": value.dtype, "device": value.device}
        shape, strides = list(value.shape), list(value.stride())
        if 0 in strides and value.numel():  # expanded: there is nothing behind it to write to
            strides = torch.empty(shape, device="meta").stride()  # type: ignore[assignment]
        args[0] = draws.call_function(aten.empty_strided.default, (shape, list(strides)), options)
    made[node] = draws.call_function(node.target, tuple(args), dict(node.kwargs))  # type: ignore[arg-type]
    return made[node]


def _may_be_blank(node: Node, first: Node, filled: bool = False) -> bool:
    """Tell whether a draw in place fills a tensor that nobody else reads."""
    if not (filled or node.target._schema.is_mutable):  # type: ignore[union-attr]
        return True
    if set(first.users) != {node}:
        return False
    if first.target in _VIEWS:
        return _may_be_blank(node=first, first=first.args[0], filled=True)  # type: ignore[arg-type]
    return first.target in _BLANK
