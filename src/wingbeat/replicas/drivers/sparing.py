"""The update of a large stack, some columns at a time and in place: no second state lies beside it.

A step that is written as one function of the state returns a whole new one, and its intermediate
results are as large. Where stacks are large, only the gradients are made of all weights at once.
Each operation of an update acts element by element and is rounded once, so that it gives the same
numbers in pieces; rules of which that is not so are told by their operations, and run whole.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from wingbeat.heap import hold
from wingbeat.replicas.drivers.uneven import is_uneven
from wingbeat.replicas.snapshot import LARGE
from wingbeat.task.objective import clip
from wingbeat.task.optimizers import Grouped, PureOptimizer
from wingbeat.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor
    from torch.fx import Node

    from wingbeat.task.state import State
    from wingbeat.task.step import TrainingStep

_NUMBERS: Final = 1 << 18
"""Numbers of all replicas that are updated at once: what an update makes of them fits a cache."""
aten = torch.ops.aten
_PLAIN: Final = frozenset((aten.clone.default, aten.lift_fresh_copy.default, aten._to_copy.default))
"""Operations that act element by element though torch does not tag them so."""


class _Run(NamedTuple):
    """Neighbouring tensors that one rule updates."""

    names: list[str]
    columns: slice
    rule: PureOptimizer
    first: int
    last: int


class SparingUpdate:
    """The update of a task, in place.

    Args:
        step: of the task.
        count: replicas.
    """

    def __init__(self, step: TrainingStep, count: int) -> None:
        self.step = step
        self.width = max(1, _NUMBERS // count)
        self._runs = list(self._found())
        hold()  # gradients come and go at each step

    def __call__(
        self, state: State, grads: dict[str, Tensor], c: Sequence[Tensor], into: State
    ) -> None:
        """Write the next weights and slots; the gradients are used up.

        Args:
            state: before the step, a stack.
            grads: ``(replicas, *shape)`` by name.
            c: coefficients of the optimizer.
            into: where weights and slots go; may be the state itself.
        """
        layout = self.step.layout
        if self.step.task.clip_norm is not None:
            flat = layout.flatten(grads)
            grads.clear()
            clipped = clip(flat, self.step.task.clip_norm)
            del flat
            grads.update(layout.unflatten(clipped))
            del clipped
        for run in self._runs:
            own = [grads.pop(name) for name in run.names]
            begin = run.columns.start
            for grad in _laid_flat(own, self.width):
                here = slice(begin, begin := begin + grad.shape[1])
                self._piece(run, state, grad, c[run.first : run.last], here, into)

    def _piece(
        self, run: _Run, state: State, grad: Tensor, c: Sequence[Tensor], here: slice, into: State
    ) -> None:
        """Write the next weights and slots of some columns."""
        old = {name: t[:, here] for name, t in state.slots.items()}
        own = {name: old[name] for name in run.rule.slots()}
        params, slots = self.step.updated(run.rule, grad, own, state.params[:, here], c, here)
        into.params[:, here] = params
        for name in state.slots:  # a group without a slot hands on what it had
            into.slots[name][:, here] = slots.get(name, old[name])

    def _found(self) -> Iterator[_Run]:
        layout, groups = self.step.layout, _rules(self.step)
        left = [(name, layout.slices[name]) for name in layout.names]
        for place, rule, first, last in groups:
            names: list[str] = []
            begin = place.start
            while left and left[0][1].stop <= place.stop:
                name, own = left.pop(0)
                names.append(name)
                if own.stop - begin >= self.width or own.stop == place.stop:
                    yield _Run(names, slice(begin, own.stop), rule, first, last)
                    names, begin = [], own.stop


def _laid_flat(grads: list[Tensor], width: int) -> Iterator[Tensor]:
    """Yield gradients of neighbouring tensors as ``(replicas, columns)``, at most ``width`` wide.

    A gradient often lies transposed in memory, so that laying it flat copies it: a few rows at a
    time, not the whole tensor.
    """
    if len(grads) > 1:
        grads = [torch.cat([grad.reshape(len(grad), -1) for grad in grads], dim=-1)]
    grad = grads.pop().unsqueeze(-1)  # a single number has no rows
    rows = max(1, width // max(1, grad[0, 0].numel()))
    for part in torch.split(grad, rows, dim=1):
        yield from torch.split(part.reshape(len(part), -1), width, dim=1)


def _rules(step: TrainingStep) -> Iterator[tuple[slice, PureOptimizer, int, int]]:
    """Yield each rule with its columns and the places of its coefficients."""
    rule = step.optimizer
    assert rule is not None
    if not isinstance(rule, Grouped):
        yield slice(0, step.layout.size), rule, 0, len(rule.coefficients(0, 1.0))
        return
    counts = [len(group.rule.coefficients(0, 1.0)) for group in rule.groups]
    ends = pairwise(accumulate(counts, initial=0))
    for group, (first, last) in zip(rule.groups, ends, strict=True):
        yield group.place, group.rule, first, last


def apart(found: list[Tensor], held: Sequence[Tensor]) -> list[Tensor]:
    """Copy what lies in the memory of other tensors, which will be written into.

    The derivative of a product is the other factor itself, with nothing in between.
    """
    places = {t.untyped_storage().data_ptr() for t in held if t.numel()}
    return [t.clone() if t.untyped_storage().data_ptr() in places else t for t in found]


def is_spared(step: TrainingStep, size: int) -> bool:
    """Tell whether a stack is so large, and its update such, that it is made in place.

    Args:
        step: of its task.
        size: bytes of the stack's weights.
    """
    if size <= LARGE or step.device.type != "cpu" or step.task.after_step is not None:
        return False
    if step.optimizer is None or step.scaling is not None:
        return False
    return all(_in_pieces(step, rule, last - first) for _, rule, first, last in _rules(step))


def _in_pieces(step: TrainingStep, rule: PureOptimizer, count: int) -> bool:
    """Tell whether all operations of a rule act element by element and round alike anywhere."""
    names = rule.slots()

    def update(grad: Tensor, params: Tensor, *rest: Tensor) -> list[Tensor]:
        slots = dict(zip(names, rest[count:], strict=True))
        after, new = rule.update(grad, slots, params, rest[:count])
        return [after, *new.values()]

    tensors = [torch.ones(2, 4, dtype=step.dtype) for _ in range(2 + len(names))]
    c = [torch.ones((), dtype=torch.float64)] * count
    try:
        graph = trace(update, *tensors[:2], *c, *tensors[2:]).graph
    except Exception:  # a rule of somebody else's that reads numbers: it runs as it is written
        return False
    return all(_is_in_place(node) for node in graph.nodes if node.op == "call_function")


def _is_in_place(node: Node) -> bool:
    pointwise = torch.Tag.pointwise in getattr(node.target, "tags", ())
    return (pointwise or node.target in _PLAIN) and not is_uneven(node)
