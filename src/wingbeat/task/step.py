"""The one pure training step: gradient, clipping, optimizer update, buffers.

``TrainingStep`` is a function of explicit state. The lock-step driver maps it over a
replica axis, the loop driver calls it once a replica, and tangent dynamics differentiate
it; no driver has arithmetic of its own.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.func import functional_call, grad_and_value

from wingbeat.determinism import seeded
from wingbeat.errors import DriverError, RequestError
from wingbeat.params import Layout, fixed, trainable
from wingbeat.task.batches import copied
from wingbeat.task.optimizers import PureOptimizer, pure_optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from wingbeat.task.task import Batch, Task

Buffers = dict[str, "Tensor"]
Slots = dict[str, "Tensor"]


@dataclass(frozen=True)
class State:
    """Everything that the next step depends on, besides its index.

    ``params`` is flat, ``(P,)`` for one replica or ``(replicas, P)``; ``buffers`` hold the
    model's buffers and frozen parameters by name, ``slots`` the optimizer's state by name.
    """

    params: Tensor
    buffers: Buffers
    slots: Slots

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """Apply a function to every tensor."""
        return State(
            function(self.params),
            {name: function(t) for name, t in self.buffers.items()},
            {name: function(t) for name, t in self.slots.items()},
        )


def concatenate(states: Sequence[State]) -> State:
    """Join states along the replica axis."""
    first = states[0]
    return State(
        torch.cat([s.params for s in states]),
        {name: torch.cat([s.buffers[name] for s in states]) for name in first.buffers},
        {name: torch.cat([s.slots[name] for s in states]) for name in first.slots},
    )


class _Objective(nn.Module):
    """The loss as a module, so that the user's function sees the real model."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, batch: Batch) -> Any:
        return self.function(self.model, batch)


class TrainingStep:
    """The pure step of a task.

    Args:
        task: what to train.
        dtype: floating-point type of the model.
        device: where it runs.

    Attributes:
        layout: names and shapes of the trainable parameters in the flat vector.
        optimizer: the pure optimizer, or None where the task's own object must be used.
        reason: why ``optimizer`` is None, else "".
        functional: whether ``torch.func`` can differentiate the model; see ``use_objects``.
        remembers: names of the Python state that a step changes; see ``task.hidden_state``.
        idle: parameters that the loss does not reach; ``torch.optim`` leaves them alone.
        rehearse: makes the first loss and its gradient once more, without an update.

    Raises:
        RequestError: no trainable parameter, or an optimizer that leaves one out.
    """

    def __init__(self, task: Task, dtype: torch.dtype, device: torch.device) -> None:
        self.task, self.dtype, self.device = task, dtype, device
        self.renew()
        self.functional = True
        self.remembers: tuple[str, ...] = ()
        self.idle: tuple[str, ...] = ()
        self.rehearse: Callable[[], Any] = lambda: None
        named = _by_group(self.skeleton, self.owner)
        self.layout = Layout.of({name: p for group in named for name, p in group.items()})
        self.optimizer, self.reason = self._pure(named)
        self._evaluation = copy.deepcopy(self.skeleton).eval()

    def renew(self) -> None:
        """Build model and optimizer anew: a trial may have left something in the old ones."""
        self.skeleton = self.build(self.task.seed)
        self.owner = self.task.optimizer(list(trainable(self.skeleton).values()))
        self._objective = _Objective(self.skeleton, self.task.loss)

    def use_objects(self, reason: str) -> None:
        """Train with the module and the optimizer themselves, not with their pure forms.

        For models that ``torch.func`` cannot differentiate: gradient checkpointing, old-style
        ``autograd.Function``, ``autograd.grad`` within the loss, inputs changed in place.
        """
        self.functional, self.optimizer, self.reason = False, None, reason
        self.renew()

    def build(self, seed: int) -> nn.Module:
        """Build the model under a seed, exactly as ``torch.manual_seed(seed); model()`` does."""
        with seeded(seed):
            model = self.task.model()
        if not isinstance(model, nn.Module):
            msg = f"Task.model returned {type(model).__name__}: it must return an nn.Module"
            raise RequestError(msg)
        if not trainable(model):
            msg = "the model has no trainable parameter: at least one must have requires_grad=True"
            raise RequestError(msg)
        # A copy: the factory may hand out one module of the user's again and again.
        return copy.deepcopy(model).to(self.device, self.dtype)

    def start(self, seed: int) -> State:
        """Return the state of one replica before the first update, initialised under a seed."""
        model = self.build(seed)
        params = self.layout.flatten({k: p.detach() for k, p in trainable(model).items()})
        buffers = {k: b.detach().clone() for k, b in fixed(model).items()}
        return State(params, buffers, self.optimizer.start(params) if self.optimizer else {})

    def coefficients(self, step: int) -> tuple[float, ...]:
        """Return the step-dependent numbers of the optimizer's update."""
        assert self.optimizer is not None
        return self.optimizer.coefficients(step, self.task.factor(step))

    def __call__(
        self, state: State, batch: Batch, coefficients: Sequence[Tensor]
    ) -> tuple[State, Tensor]:
        """Advance one replica by one update; returns the new state and the batch's loss."""
        assert self.optimizer is not None
        grad, loss, buffers = self.gradient(state.params, state.buffers, batch)
        if self.task.clip_norm is not None:
            grad = clip(grad, self.task.clip_norm)
        params, slots = self.optimizer.update(grad, state.slots, state.params, coefficients)
        if self.idle:  # no decay, no momentum: torch.optim passes over a gradient of None
            params = torch.where(self._still, state.params, params)
        return State(params, buffers, slots), loss

    @cached_property
    def _still(self) -> Tensor:
        """Where the parameters lie that the loss does not reach, (P,)."""
        still = torch.zeros(self.layout.size, dtype=torch.bool, device=self.device)
        for name in self.idle:
            still[self.layout.slices[name]] = True
        return still

    def gradient(
        self, params: Tensor, buffers: Buffers, batch: Batch
    ) -> tuple[Tensor, Tensor, Buffers]:
        """Return the flat gradient (P,), the loss and the buffers after the forward pass.

        A parameter that the loss does not depend on has gradient zero.
        """
        if not self.functional:
            return self._own_gradient(params, buffers, batch)

        def objective(named: dict[str, Tensor]) -> tuple[Tensor, Buffers]:
            fresh = {name: b.clone() for name, b in buffers.items()}
            loss = self.call(self._objective, {**named, **fresh}, batch, fresh)
            return check_scalar(loss), fresh

        named = self.layout.unflatten(params)
        grads, (loss, after) = grad_and_value(objective, has_aux=True)(named)
        return self.layout.flatten(grads), loss.detach(), after

    def _own_gradient(
        self, params: Tensor, buffers: Buffers, batch: Batch
    ) -> tuple[Tensor, Tensor, Buffers]:
        self.put(params, buffers)
        own = trainable(self.skeleton)
        with torch.enable_grad():
            loss = check_scalar(self.task.loss(self.skeleton, copied(batch)))
            found = torch.autograd.grad(loss, list(own.values()), materialize_grads=True)
        after = {name: b.detach().clone() for name, b in fixed(self.skeleton).items()}
        return self.layout.flatten(dict(zip(own, found, strict=True))), loss.detach(), after

    def unreached(self, params: Tensor, buffers: Buffers, batch: Batch) -> tuple[str, ...]:
        """Return the names of the parameters that the loss of a batch does not depend on."""
        self.put(params, buffers)
        own = trainable(self.skeleton)
        with torch.enable_grad():
            loss = check_scalar(self.task.loss(self.skeleton, copied(batch)))
            if not loss.requires_grad:
                msg = "the loss depends on no trainable parameter: there is nothing to train"
                raise RequestError(msg)
            found = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
        return tuple(name for name, g in zip(own, found, strict=True) if g is None)

    def put(self, params: Tensor, buffers: Buffers) -> None:
        """Write one replica's weights and buffers into the model itself."""
        own = trainable(self.skeleton)
        with torch.no_grad():
            for name, value in self.layout.unflatten(params).items():
                own[name].copy_(value)
            for name, buffer in fixed(self.skeleton).items():
                buffer.copy_(buffers[name])

    def evaluate(
        self, function: Callable[..., Any], params: Tensor, buffers: Buffers, batch: Batch
    ) -> Any:
        """Call ``function(model, batch)`` in eval mode with one replica's weights."""
        named = {**self.layout.unflatten(params), **buffers}
        return self.call(_Objective(self._evaluation, function), named, copied(batch), {})

    @staticmethod
    def call(module: _Objective, named: dict[str, Tensor], batch: Batch, changed: Buffers) -> Any:
        """Call a module with other tensors in place of its own; ``changed`` sees new buffers."""
        tensors = {f"model.{name}": t for name, t in named.items()}
        result = functional_call(module, tensors, (batch,))
        for name in changed:  # a module may assign a buffer anew instead of writing into it
            changed[name] = tensors[f"model.{name}"]
        return result

    def _pure(self, named: list[dict[str, Tensor]]) -> tuple[PureOptimizer | None, str]:
        sizes = [sum(p.numel() for p in members.values()) for members in named]
        ends = list(accumulate(sizes, initial=0))
        places = [slice(a, b) for a, b in pairwise(ends)]
        try:
            return pure_optimizer(self.owner, places), ""
        except DriverError as error:
            return None, str(error)


def clip(grad: Tensor, max_norm: float) -> Tensor:
    """Scale a flat gradient down to a norm of at most ``max_norm``, as ``clip_grad_norm_`` does."""
    norm = (grad * grad).sum(-1, keepdim=True).sqrt()
    return grad * torch.clamp(max_norm / (norm + 1e-6), max=1.0)


def check_scalar(loss: Any) -> Tensor:
    """Return the loss if it is a scalar tensor of floating point.

    Raises:
        RequestError: it is anything else.
    """
    if not isinstance(loss, torch.Tensor):
        msg = f"Task.loss returned {type(loss).__name__}: it must return a scalar tensor"
        raise RequestError(msg)
    if loss.dim() != 0:
        msg = (
            f"Task.loss returned a tensor of shape {tuple(loss.shape)}: it must return a scalar; "
            "average it over the batch, for example with .mean()"
        )
        raise RequestError(msg)
    return loss


def _by_group(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict[str, Tensor]]:
    """Return the trainable parameters by name, one dict for each of the optimizer's groups."""
    names = {id(p): name for name, p in trainable(model).items()}
    groups = [
        {names[id(p)]: p for p in group["params"] if id(p) in names}
        for group in optimizer.param_groups
    ]
    covered = {name for group in groups for name in group}
    missing = [name for name in names.values() if name not in covered]
    if missing:
        msg = (
            f"the optimizer leaves out {len(missing)} trainable parameter(s), first "
            f"{missing[0]!r}: pass every parameter to it, or set requires_grad=False on those "
            "that stay fixed"
        )
        raise RequestError(msg)
    return groups
