"""A task whose model is the tangent of another at some weights: training with a fixed kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp

from wingbeat.errors import RequestError
from wingbeat.params import fixed, trainable

if TYPE_CHECKING:
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.task import Task


class TangentModel(nn.Module):
    """The model f(w; x) + J(w)·δ with fixed w; its parameters are δ, which start at 0.

    The outputs come from one forward derivative, gradients from one backward derivative at w: the
    memory is that of the model, no Jacobian is held. The model inside stays in eval mode, with its
    own buffers. Trains on the loop, since ``torch.func`` does not look into its backward pass.

    Args:
        model: at the weights w; it is not changed. Its output is one tensor.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> x = torch.randn(4, 2)
    >>> bool((TangentModel(net)(x) == net(x)).all())
    True
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model.eval()
        self.names = tuple(trainable(model))
        shifts = [torch.zeros_like(p) for p in trainable(model).values()]
        self.inner.requires_grad_(False)
        self.shifts = nn.ParameterList(shifts)

    def train(self, mode: bool = True) -> TangentModel:
        """Set the mode of the whole but leave the model inside in eval mode."""
        super().train(mode)
        self.inner.eval()
        return self

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        """Return the tangent model's output.

        Raises:
            RequestError: the model's output is not one tensor.
        """
        every = {**dict(self.inner.named_parameters()), **dict(self.inner.named_buffers())}
        held = {name: every[name].detach() for name in self.names}
        rest = {name: t for name, t in every.items() if name not in held}

        def call(params: dict[str, Tensor]) -> Tensor:
            """Return the model's output at other weights."""
            out = functional_call(self.inner, {**rest, **params}, inputs, options)
            if not isinstance(out, Tensor):
                raise RequestError(
                    f"the model gives {type(out).__name__}: a tangent model needs one tensor"
                )
            return out

        found: Tensor = _Linear.apply(call, held, *self.shifts)  # type: ignore[no-untyped-call]
        return found


class _Linear(torch.autograd.Function):
    """Output and gradient of a tangent model, without a derivative of a derivative."""

    @staticmethod
    def forward(
        ctx: Any,
        call: Callable[[dict[str, Tensor]], Tensor],
        held: dict[str, Tensor],
        *shifts: Tensor,
    ) -> Tensor:
        """Return f(w) + J(w)·δ."""
        ctx.call, ctx.held = call, held
        moved = {k: s.detach() for k, s in zip(held, shifts, strict=True)}
        out, tangent = jvp(call, (held,), (moved,))[:2]
        found: Tensor = out + tangent
        return found

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Any, ...]:
        """Return J(w)ᵀ of the slope."""
        (found,) = vjp(ctx.call, ctx.held)[1](slopes[0])
        return (None, None, *found.values())


@dataclass(frozen=True)
class TangentFactory:
    """Builds the tangent model of a task's model at stated weights.

    Attributes:
        model: the task's factory.
        tensors: parameters and buffers by name.
    """

    model: Callable[[], nn.Module]
    tensors: Mapping[str, Tensor]

    def __call__(self) -> TangentModel:
        """Return the tangent model with δ = 0."""
        model = self.model()
        model.load_state_dict(dict(self.tensors), strict=False)
        return TangentModel(model)


def linearised(task: Task, at: Snapshot | nn.Module, *, replica: int = 0) -> Task:
    """Return the task with its model replaced by the tangent model at some weights.

    Train it like any task: what it ends at is what training with a fixed kernel reaches from there.
    The optimizer starts anew, and the schedule from its first step.

    Args:
        task: what was trained.
        at: the weights: a recorded moment, or a model.
        replica: which replica of the moment.

    Raises:
        RequestError: the weights are not those of the task's model.

    Source: Fort et al., arXiv 2010.15110; Lee et al., arXiv 1902.06720.

    >>> from wingbeat.tasks.dense import circles_task
    >>> task = circles_task((4,))
    >>> [tuple(p.shape) for p in linearised(task, task.model()).model().parameters()][-4:]
    [(4, 2), (4,), (2, 4), (2,)]
    """
    if isinstance(at, nn.Module):
        tensors = {k: t.detach().clone() for k, t in {**trainable(at), **fixed(at)}.items()}
    else:
        tensors = {k: t[replica].clone() for k, t in {**at.params, **at.buffers}.items()}
    model = task.model()
    expected = {k: tuple(t.shape) for k, t in {**trainable(model), **fixed(model)}.items()}
    other = [k for k, shape in expected.items() if k not in tensors or tensors[k].shape != shape]
    if other:
        raise RequestError(f"the weights lack {other[0]!r} of the task's model: give its snapshot")
    return replace(task, model=TangentFactory(task.model, tensors), name=f"{task.name}, linearised")
