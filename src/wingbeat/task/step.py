"""The one pure training step: gradient, clipping, optimizer update, buffers.

``TrainingStep`` is a function of explicit state. The lock-step driver maps it over a
replica axis, the loop driver calls it once a replica, and tangent dynamics differentiate
it; no driver has arithmetic of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.func import functional_call

from wingbeat.errors import DriverError
from wingbeat.params import Layout, fixed, trainable
from wingbeat.task.advice import check_optimizer
from wingbeat.task.batches import copied
from wingbeat.task.build import ModelBuilder, why_objects
from wingbeat.task.called_model import CalledModel
from wingbeat.task.last_derivative import gradient_and_loss
from wingbeat.task.objective import (
    DataAsView,
    Objective,
    check_scalar,
    clip,
    dense_gradient,
    nothing,
)
from wingbeat.task.optimizers import Grouped, PureOptimizer
from wingbeat.task.optimizers.members import members_by_group
from wingbeat.task.precision import SCALE, SKIPPED, autocast, check_precision, is_scaler, scaling_of
from wingbeat.task.pure_rule import pure_rule
from wingbeat.task.schedule import factor_of, read_through
from wingbeat.task.signatures import AtStep, made_optimizer
from wingbeat.task.state import Slots, State
from wingbeat.task.wide_norms import like_a_plain_loop
from wingbeat.typing import Buffers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from wingbeat.task.data import Batch
    from wingbeat.task.task import Task

__all__ = ["State", "TrainingStep"]


class TrainingStep:
    """The pure step of a task.

    Args:
        task: what to train.
        dtype: floating-point type of the model.
        device: where it runs.

    Attributes:
        layout: names and shapes of the trainable parameters in the flat vector.
        called: the model to call with the tensors of replicas, ``shell`` as a module.
        optimizer: the pure optimizer, or None where the task's own object must be used.
        reason: why ``optimizer`` is None, else "".
        scaling: how the loss is scaled, with updates that overflow left out; None where it is not.
        functional: whether ``torch.func`` can differentiate the model; see ``use_objects``.
        idle: ``(P,)``, true for parameters that the loss does not depend on; None without any.
        remembers: names of the Python state that a step changes; see ``task.hidden_state``.
        rehearse: makes the first gradient once more where a step remembers something; else nothing.

    Raises:
        RequestError: no trainable parameter, or an optimizer that leaves one out.
    """

    def __init__(self, task: Task, dtype: torch.dtype, device: torch.device) -> None:
        check_precision(task.precision, dtype)
        self.task, self.dtype, self.device = task, dtype, device
        self.models = ModelBuilder(task, dtype, device)
        self.renew()
        self._rates, self.table = read_through(task, self.owner)
        self.functional = True
        self.remembers: tuple[str, ...] = ()
        self.idle: Tensor | None = None
        self.rehearse: Callable[[], Any] = lambda: None
        named = members_by_group(self.skeleton, self.owner)
        self.layout = Layout.of({name: p for group in named for name, p in group.items()})
        self._kept_groups = [place for place, group in enumerate(named) if group]
        self.scaling = scaling_of(task.precision, task.scaler, device)
        self.optimizer, self._handed, self.reason = pure_rule(self.owner, named, self.table)
        if why := why_objects(self.skeleton):
            self.use_objects(f"{why}, which only a backward pass through the module itself calls")

    def renew(self) -> None:
        """Build model and optimizer anew: a trial may have left something in the old ones."""
        self.called = CalledModel(self.models, self.task.seed)
        self.shell = shell = self.called.shell
        self._modes = {name: m.training for name, m in shell.named_modules()}
        self.owner = made_optimizer(self.task.optimizer, shell)
        check_optimizer(self.owner)
        if self.task.start is not None:
            self.task.start.load_optimizer(self.owner)
        self._objective = Objective(shell, self.task.loss)
        self._after = Objective(shell, self.task.after_step or nothing)
        self._evaluation = self.models.shown(shell).eval()

    @property
    def skeleton(self) -> nn.Module:
        """The model with weights of its own: those that it was last called with, or a start's."""
        return self.called.with_weights()

    def use_objects(self, reason: str) -> None:
        """Train with the module and the optimizer themselves, not with their pure forms.

        For models that ``torch.func`` cannot differentiate: gradient checkpointing, old-style
        ``autograd.Function``, ``autograd.grad`` within the loss, inputs changed in place; and for
        what only a backward pass calls: gradient hooks.
        """
        self.functional, self.optimizer, self.reason = False, None, reason
        self.renew()

    def set_mode(self, mode: str) -> None:
        """Put the model into eval mode, or back into the one that it trains in ("train")."""
        for name, module in self.shell.named_modules():
            module.training = mode == "train" and self._modes[name]

    def build(self, seed: int) -> nn.Module:
        """Build the model under a seed, exactly as ``torch.manual_seed(seed); model()`` does."""
        return self.models.fresh(seed)

    def start(self, seed: int) -> State:
        """Return the state of one replica before the first update, initialised under a seed.

        The optimizer's state is what the task's factory handed over: zero, or a checkpoint's.
        """
        model = self.models.initial(seed)
        params = self.layout.flatten({k: p.detach() for k, p in trainable(model).items()})
        buffers = {k: b.detach().clone() for k, b in fixed(model).items()}
        return State(params, buffers, self._slots(params))

    def _slots(self, params: Tensor) -> Slots:
        if self.optimizer is None:
            return {}
        given = self._handed or {}
        own = {name: t.clone() for name, t in given.items()} or self.optimizer.start(params)
        return own if self.scaling is None else {**own, **self.scaling.start(self.device)}

    def options(self, step: int) -> list[dict[str, Any]]:
        """Return what the schedule sets in each of the optimizer's groups; no entry: as it is.

        Raises:
            RequestError: there is a schedule, but the optimizer has no learning rate.
        """
        groups = getattr(self.owner, "param_groups", [])
        if self.task.schedule is None:
            return [{} for _ in groups]
        if self.table is not None:
            return [dict(row) for row in self.table.options(self.number(step))]
        factor = self.task.factor(self.number(step))
        return [{"lr": rate * factor} for rate in self._rates]

    def number(self, step: int) -> int:
        """Return the number of an update, those before this training included."""
        return self.task.first_step + step

    def coefficients(self, step: int, left_out: int | None = None) -> tuple[float, ...]:
        """Return the step-dependent numbers of an update: the optimizer's, and its own number.

        The number is the last one, and only there for tasks whose loss or ``after_step`` take it.
        The schedule goes by the step, the optimizer by what it made of it: ``left_out`` less.
        """
        if self.scaling is not None and left_out is None:
            raise DriverError("each replica counts its own updates: ask TrainingStep.numbers")
        own = self._coefficients(step, max(0, step - (left_out or 0)))  # a timing repeats steps
        return (*own, float(self.number(step))) if self.task.counts else own

    def numbers(self, state: State, step: int) -> tuple[Tensor, ...]:
        """Return the coefficients of an update; of replicas that leave updates out, their own.

        Each is without axes, or ``(replicas,)`` for a stack of replicas with their own.
        """
        if self.scaling is None:
            return torch.tensor(self.coefficients(step), dtype=torch.float64).unbind()
        counts = state.slots[SKIPPED]
        rows = [self.coefficients(step, count) for count in counts.reshape(-1).tolist()]
        found = torch.tensor(rows, dtype=torch.float64, device=self.device)
        return found.reshape(*counts.shape, -1).unbind(-1)

    def _coefficients(self, step: int, count: int) -> tuple[float, ...]:
        assert self.optimizer is not None
        if self.table is None:
            return self.optimizer.coefficients(count, factor_of(self.task, self.number(step)))
        factors = self.table.factors(self.number(step))
        kept = [factors[place] for place in self._kept_groups]
        if isinstance(self.optimizer, Grouped):
            return self.optimizer.coefficients_each(count, kept)
        return self.optimizer.coefficients(count, kept[0])

    def __call__(
        self, state: State, batch: Batch, coefficients: Sequence[Tensor]
    ) -> tuple[State, Tensor]:
        """Advance one replica by one update; returns the new state and the batch's loss."""
        assert self.optimizer is not None
        number = None
        if self.task.counts:
            *coefficients, number = coefficients
        scale = None if self.scaling is None else state.slots[SCALE]
        grad, loss, buffers = self.gradient(state.params, state.buffers, batch, number, scale)
        if self.scaling is None:
            params, slots = self._updated(state, grad, coefficients)
        else:
            grad, finite = self.scaling.unscaled(grad, state.slots)
            params, slots = self._updated(state, grad, coefficients)
            params = torch.where(finite, params, state.params)
            slots = {name: torch.where(finite, t, state.slots[name]) for name, t in slots.items()}
            slots |= self.scaling.moved_on(finite, state.slots)
        if self.task.after_step is not None:
            params, buffers = self._moved_on(params, buffers, number)
        return State(params, buffers, slots), loss

    def _updated(
        self, state: State, grad: Tensor, coefficients: Sequence[Tensor]
    ) -> tuple[Tensor, Slots]:
        """Return weights and the optimizer's state after its step."""
        assert self.optimizer is not None
        if self.task.clip_norm is not None:
            grad = clip(grad, self.task.clip_norm)
        own = {name: t for name, t in state.slots.items() if not is_scaler(name)}
        return self.updated(self.optimizer, grad, own, state.params, coefficients)

    def updated(
        self,
        rule: PureOptimizer,
        grad: Tensor,
        slots: Slots,
        params: Tensor,
        c: Sequence[Tensor],
        columns: slice = slice(None),
    ) -> tuple[Tensor, Slots]:
        """Return these columns of parameters and slots after a rule's step; idle ones stay."""
        after, new = rule.update(grad, slots, params, c)
        if self.idle is not None:
            rest = self.idle[columns] & (grad == 0)
            after = torch.where(rest, params, after)
            new = {name: torch.where(rest, slots[name], t) for name, t in new.items()}
        return after, new

    def _moved_on(self, params: Tensor, buffers: Buffers, number: Any) -> tuple[Tensor, Buffers]:
        """Return weights and buffers after the task's ``after_step``."""
        named = {name: t.clone() for name, t in self.layout.unflatten(params).items()}
        tensors = {**named, **{name: b.clone() for name, b in buffers.items()}}
        with DataAsView():
            self.call(self._after, tensors, tensors, number)
        return self.layout.flatten({n: tensors[n] for n in named}), {n: tensors[n] for n in buffers}

    def gradient(
        self,
        params: Tensor,
        buffers: Buffers,
        batch: Batch,
        number: Any = None,
        scale: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Buffers]:
        """Return the flat gradient (P,), the loss and the buffers after the forward pass.

        A parameter that the loss does not depend on has gradient zero.

        Args:
            params: ``(P,)``.
            buffers: by name.
            batch: of an update: a list of them where the task accumulates.
            number: of the update, for a loss that takes it; None is the last one's.
            scale: what the loss is multiplied by before it is differentiated; None for 1.
        """
        whole = lambda named: {"": self.layout.flatten(named)}  # noqa: E731
        found, loss, buffers = self._totals(params, buffers, batch, number, scale, whole)
        return found[""], loss, buffers

    def gradients(
        self, params: Tensor, buffers: Buffers, batch: Batch, number: Any = None
    ) -> tuple[dict[str, Tensor], Tensor, Buffers]:
        """Return what `gradient` does, the gradient by name: it never lies in one piece."""
        return self._totals(params, buffers, batch, number, None, lambda named: named)

    def _totals(
        self, params: Tensor, buffers: Buffers, batch: Batch, number: Any, scale: Any, form: Any
    ) -> tuple[dict[str, Tensor], Tensor, Buffers]:
        """Return the gradient of an update in some form, summed over its batches."""
        if not self.functional:
            named, loss, buffers = self._own_gradient(params, buffers, batch, number)
            return form(named), loss, buffers
        total: dict[str, Tensor] = {}
        parts, losses = self.parts(batch), []
        for part in parts:
            share = (number, len(parts), scale)
            named, loss, buffers = self._part_gradient(params, buffers, part, *share)
            named = form(named)
            for name in tuple(named):
                grad = named.pop(name)
                total[name] = total[name] + grad if name in total else grad
            losses.append(loss)
        return total, self.mean(losses), buffers

    def _part_gradient(
        self,
        params: Tensor,
        buffers: Buffers,
        batch: Batch,
        number: Any,
        many: int,
        scale: Tensor | None,
    ) -> tuple[dict[str, Tensor], Tensor, Buffers]:
        def objective(named: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, Buffers]]:
            """Return what is differentiated, then the loss and the buffers after it."""
            fresh = {name: b.clone() for name, b in buffers.items()}
            with like_a_plain_loop(self.task.precision, self.device):
                given = self.arguments(batch, number)
                loss = self.call(self._objective, {**named, **fresh}, fresh, *given)
            loss = check_scalar(loss)
            due = loss if many == 1 else loss / many
            return due if scale is None else due * scale, (loss, fresh)

        grads, (loss, after) = gradient_and_loss(objective, self.layout.unflatten(params))
        return grads, loss.detach(), after

    def parts(self, batch: Batch) -> list[Batch]:
        """Return the batches of an update: several where the task accumulates."""
        return list(batch) if self.task.accumulate > 1 else [batch]

    def arguments(self, batch: Batch, number: Any) -> tuple[Any, ...]:
        """Return what the loss is called with beside the model."""
        takes = isinstance(self.task.loss, AtStep) and number is not None
        return (batch, number) if takes else (batch,)

    def mean(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the loss of an update, in the model's type: the mean over its batches."""
        first = losses[0].to(self.dtype) if self.task.precision else losses[0]
        return first if len(losses) == 1 else torch.stack(list(losses)).mean().to(first.dtype)

    def leave_alone(self, names: Sequence[str]) -> None:
        """Leave parameters that the loss does not depend on as they are, as torch does.

        Their gradient is None in a plain loop, and its optimizers skip them; a gradient of zero
        would let weight decay and momentum move them.
        """
        self.idle = torch.zeros(self.layout.size, dtype=torch.bool, device=self.device)
        for name in names:
            self.idle[self.layout.slices[name]] = True

    def _own_gradient(
        self, params: Tensor, buffers: Buffers, batch: Batch, number: Any
    ) -> tuple[dict[str, Tensor], Tensor, Buffers]:
        self.put(params, buffers)
        own = trainable(self.shell)
        for parameter in own.values():
            parameter.grad = None
        loss = self.backward(batch, number)
        found = {name: dense_gradient(p) for name, p in own.items()}
        return found, loss, {name: b.detach().clone() for name, b in fixed(self.shell).items()}

    def backward(
        self, batch: Batch, number: Any, scale: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Add the scaled gradient of an update to the model's own parameters; returns the loss."""
        parts, losses = self.parts(batch), []
        for part in parts:
            given = self.arguments(copied(part), number)
            with torch.enable_grad():
                with autocast(self.task.precision, self.device):
                    loss = check_scalar(self.task.loss(self.skeleton, *given))
                losses.append(loss.detach())
                due = loss if len(parts) == 1 else loss / len(parts)
                # Not autograd.grad: checkpointing forbids it, and some hooks do not see it.
                (due if scale is None else scale(due)).backward()  # type: ignore[no-untyped-call]
        return self.mean(losses)

    def after_update(self, index: int) -> None:
        """Call the task's ``after_step`` on the model itself."""
        if self.task.after_step is not None:
            with torch.no_grad():
                self.task.after_step(self.skeleton, self.number(index))

    def put(self, params: Tensor, buffers: Buffers) -> None:
        """Write one replica's weights and buffers into the model itself."""
        self.called.put(self.layout.unflatten(params), buffers)

    def evaluate(
        self, function: Callable[..., Any], params: Tensor, buffers: Buffers, batch: Batch
    ) -> Any:
        """Call ``function(model, batch)`` in eval mode with one replica's weights."""
        named = {**self.layout.unflatten(params), **buffers}
        return self.call(Objective(self._evaluation, function), named, {}, copied(batch))

    @staticmethod
    def call(module: Objective, named: dict[str, Tensor], changed: Buffers, *given: Any) -> Any:
        """Call a module with other tensors in place of its own; ``changed`` sees new buffers."""
        tensors = {f"model.{name}": t for name, t in named.items()}
        result = functional_call(module, tensors, given)
        for name in changed:  # a module may assign a buffer anew instead of writing into it
            changed[name] = tensors[f"model.{name}"]
        return result
