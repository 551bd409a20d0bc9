"""One step of a training run together with what it does to tangent vectors.

The derivative is that of the engine's own pure step: gradient, clipping, optimizer with its
state, weight decay and buffers. The gradient is differentiated forward (``jvp`` of ``grad``,
never ``grad`` of ``jvp``, which is silently wrong through normalisations), mapped over all
tangents at once, so that the run's own forward and backward pass is done once for all of
them; clipping and optimizer are differentiated after it on flat vectors. The whole is recorded
as a list of tensor operations and replayed.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch.func import jvp
from torch.utils import _pytree as pytree

from wingbeat.determinism import derive, seed_torch
from wingbeat.errors import DriverError, RequestError
from wingbeat.lyapunov.maps.batched_jvp import mapped, push_forward, push_reverse, smooth_clip
from wingbeat.lyapunov.maps.evolve import derivatives
from wingbeat.lyapunov.maps.recording import Recorded
from wingbeat.lyapunov.training.coordinates import Coordinates, coordinates_of
from wingbeat.lyapunov.training.derivative_patches import ExplicitLayers
from wingbeat.lyapunov.training.optimizer_metric import natural_scales
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.optimizers import pure_optimizer
from wingbeat.task.step import State, TrainingStep

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.data import Batch
    from wingbeat.task.task import Task

INSTEAD = "use wingbeat.lyapunov.replica_exponent, which needs no derivative"
"""What to do with a task that has no tangent step."""


class TangentStep:
    """The step of a task and its derivative along k tangents.

    Args:
        task: what is trained.
        dtype: of weights, data and tangents.
        device: where.
        seed: base seed of initial weights and noise; the task's own by default.
        recorded: replay a recording; otherwise every call differentiates anew (same bits).

    Attributes:
        step: the engine's pure step; its square roots have a derivative at 0.
        coordinates: of the state, D in all.
        forward: whether the gradient is differentiated in forward mode, as is usual.

    Raises:
        RequestError: the optimizer has no pure form, or the model no derivative that torch
            can take; the message says which and offers the estimate from two trajectories.

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> own = TangentStep(circles_task((4,)))
        >>> state, start = own.start(), torch.eye(own.coordinates.size)[:2].double()
        >>> after, tangents, loss = own(state, start, 0)
        >>> tangents.shape
        torch.Size([2, 66])
    """

    def __init__(
        self,
        task: Task,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        *,
        seed: int | None = None,
        recorded: bool = True,
    ) -> None:
        self.task, self.seed = task, task.seed if seed is None else seed
        _refuse_options(task)
        self.step = TrainingStep(task, dtype, torch.device(device))
        try:
            self.step.optimizer = pure_optimizer(self.step.owner, smooth=True)
        except DriverError as error:
            msg = f"no tangent dynamics for this task: {error}; {INSTEAD}"
            raise RequestError(msg) from error
        self.batches = Batches(task, dtype, self.step.device)
        self.streams = Streams.of(self.seed)
        self.coordinates = self._coordinates()
        self.forward = True
        self._recorded = recorded
        self._programs: dict[Any, Recorded] = {}

    def reseeded(self, seed: int) -> TangentStep:
        """Return the same step under another base seed; recordings are shared."""
        other = copy.copy(self)
        other.seed, other.streams = seed, Streams.of(seed)
        return other

    def start(self) -> State:
        """Return the state before the first update."""
        return self.step.start(self.seed)

    def batch(self, index: int) -> Batch:
        """Return what update ``index`` trains on."""
        return self.batches.batch(self.streams, index)

    def scales(self, state: State) -> Tensor:
        """Return the factors ``(D,)`` from raw to natural units at a state."""
        assert self.step.optimizer is not None
        return natural_scales(self.step.optimizer, self.coordinates, state.params, state.slots)

    def __call__(
        self, state: State, tangents: Tensor, index: int, *, raw: bool = False
    ) -> tuple[State, Tensor, Tensor]:
        """Make update ``index`` of the run and push tangents through it.

        Args:
            state: of one replica.
            tangents: ``(k, D)`` in natural units (see `wingbeat.lyapunov.natural`).
            index: number of the update; decides batch, learning rate and random numbers.
            raw: tangents are in the units of the state itself.

        Returns:
            The next state, the tangents ``(k, D)`` there, in its natural units, and the loss.

        Raises:
            RequestError: torch cannot differentiate the model; with the operation.
        """
        inputs, spec = pytree.tree_flatten(self.batch(index))
        c = torch.tensor(self.step.coefficients(index), dtype=torch.float64).unbind()
        leaves = [state.params, *state.buffers.values(), *state.slots.values(), tangents]
        leaves += [*inputs, *c]
        key = (raw, spec, *(tuple(x.shape) for x in (tangents, *inputs)))
        if key not in self._programs:
            self._programs[key] = self._tried(self._program(state, spec, raw), leaves)
        seed_torch(derive(self.streams.dropout, index))
        program = self._programs[key]
        with derivatives():
            # Tangents in raw units are asked for now and then only: not worth a recording.
            replayed = self._recorded and not raw
            found = program(*leaves) if replayed else program.function(*leaves)
        return self._unpacked(found, state)

    def plain(self, state: State, index: int) -> tuple[State, Tensor]:
        """Make update ``index`` without tangents: the engine's own pure step, recorded."""
        inputs, spec = pytree.tree_flatten(self.batch(index))
        c = torch.tensor(self.step.coefficients(index), dtype=torch.float64).unbind()
        leaves = [state.params, *state.buffers.values(), *state.slots.values(), *inputs, *c]
        key = (spec, *(tuple(x.shape) for x in inputs))
        if key not in self._programs:
            self._programs[key] = self._plain_program(state, spec)
        seed_torch(derive(self.streams.dropout, index))
        program = self._programs[key]
        with derivatives():
            params, *rest, loss = program(*leaves) if self._recorded else program.function(*leaves)
        buffers = dict(zip(state.buffers, rest, strict=False))
        slots = dict(zip(state.slots, rest[len(buffers) :], strict=True))
        return State(params, buffers, slots), loss

    def jacobian(self, state: State, index: int) -> Tensor:
        """Return the derivative ``(D, D)`` of the next state by this one, in raw units."""
        unit = torch.eye(self.coordinates.size, dtype=self.step.dtype, device=self.step.device)
        _, columns, _ = self(state, unit, index, raw=True)
        return columns.T

    def _coordinates(self) -> Coordinates:
        try:
            return coordinates_of(self.step, self.batches, self.streams)
        except RuntimeError as error:
            raise _refusal(error) from error

    def _tried(self, program: Recorded, leaves: list[Tensor]) -> Recorded:
        """Run a program once, forward or else in reverse mode.

        It is not recorded before: some failures end the process while a recording is made.
        """
        try:
            with derivatives():
                program.function(*leaves)
        except (RuntimeError, NotImplementedError) as error:
            if not self.forward:
                raise _refusal(error) from error
            self.forward = False
            return self._tried(program, leaves)
        return program

    def _program(self, state: State, spec: Any, raw: bool) -> Recorded:
        unpack = self._unpacker(state, (1, spec.num_leaves))

        def program(*leaves: Tensor) -> tuple[Tensor, ...]:
            now, ((tangents,), batch), c = unpack(leaves)
            return self._pushed(now, tangents, pytree.tree_unflatten(batch, spec), c, raw)

        return Recorded(program)

    def _unpacker(self, state: State, further: tuple[int, ...]) -> Any:
        """Return what takes a flat list apart: state, further groups, coefficients."""
        buffers, slots = tuple(state.buffers), tuple(state.slots)

        def unpack(leaves: Any) -> Any:
            """Return state, further groups and coefficients."""
            rest = list(leaves)
            (params,), own, sums, *groups = (
                [rest.pop(0) for _ in range(n)] for n in (1, len(buffers), len(slots), *further)
            )
            named = dict(zip(buffers, own, strict=True)), dict(zip(slots, sums, strict=True))
            return State(params, *named), groups, tuple(rest)

        return unpack

    def _plain_program(self, state: State, spec: Any) -> Recorded:
        unpack = self._unpacker(state, (spec.num_leaves,))

        def program(*leaves: Tensor) -> tuple[Tensor, ...]:
            now, (batch,), c = unpack(leaves)
            after, loss = self.step(now, pytree.tree_unflatten(batch, spec), c)
            buffers = [after.buffers[name] for name in state.buffers]
            return (after.params, *buffers, *(after.slots[name] for name in state.slots), loss)

        return Recorded(program)

    def _pushed(
        self, state: State, tangents: Tensor, batch: Batch, c: tuple[Tensor, ...], raw: bool
    ) -> tuple[Tensor, ...]:
        """Return parameters, buffers, slots, tangents and loss after one step."""
        if not raw:
            tangents = tangents / self.scales(state)
        p, *s, b = torch.split(tangents, list(self.coordinates.sizes), dim=1)
        grad, buffers, loss, dgrad, dbuffers = self._gradient(state, p, b, batch)
        params, slots, dparams, dslots = self._update(state, grad, (dgrad, p, s), c)
        moved = torch.cat([dparams, *dslots, *dbuffers], dim=1)
        if not raw:
            after = State(params, {}, dict(zip(self.coordinates.slots, slots, strict=True)))
            moved = moved * self.scales(after)
        return (params, *buffers, *slots, moved, loss)

    def _gradient(
        self, state: State, p: Tensor, b: Tensor, batch: Batch
    ) -> tuple[Tensor, list[Tensor], Tensor, Tensor, list[Tensor]]:
        """Differentiate the gradient and the buffers after the forward pass."""
        layout = self.coordinates.buffers
        moving = {name: state.buffers[name] for name in layout.names}

        def gradient(params: Tensor, own: dict[str, Tensor]) -> Any:
            buffers = {**state.buffers, **own}
            grad, loss, after = self.step.gradient(params, buffers, batch)
            still = [after[name] for name in state.buffers if name not in own]
            return (grad, [after[name] for name in layout.names]), (loss, still)

        push = push_forward if self.forward else push_reverse
        with ExplicitLayers():
            ((grad, changed), (loss, still)), (dgrad, after) = push(
                gradient, (state.params, moving), (p, layout.unflatten(b))
            )
        left, fresh = iter(still), dict(zip(layout.names, changed, strict=True))
        buffers = [fresh[name] if name in fresh else next(left) for name in state.buffers]
        return grad, buffers, loss, dgrad, [x.reshape(len(p), -1) for x in after]

    def _update(
        self, state: State, grad: Tensor, tangents: tuple[Any, ...], c: tuple[Tensor, ...]
    ) -> tuple[Tensor, list[Tensor], Tensor, list[Tensor]]:
        """Differentiate clipping and the optimizer's update."""
        rule, names, most = self.step.optimizer, self.coordinates.slots, self.task.clip_norm
        assert rule is not None

        def update(g: Tensor, params: Tensor, slots: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
            g = g if most is None else smooth_clip(g, most)
            own = dict(zip(names, slots, strict=True))
            params, after = rule.update(g, own, params, c)
            return params, [after[name] for name in names]

        point = (grad, state.params, [state.slots[name] for name in names])
        pushed = mapped(lambda *t: jvp(update, point, t), out_dims=(None, 0))
        (params, slots), (dparams, dslots) = pushed(*tangents)
        return params, slots, dparams, dslots

    def _unpacked(self, found: tuple[Tensor, ...], like: State) -> tuple[State, Tensor, Tensor]:
        params, *rest, tangents, loss = found
        buffers = dict(zip(like.buffers, rest, strict=False))
        slots = dict(zip(like.slots, rest[len(buffers) :], strict=True))
        return State(params, buffers, slots), tangents, loss


def _refusal(error: Exception) -> RequestError:
    line = str(error).strip().splitlines()[0] if str(error) else ""
    return RequestError(
        f"torch cannot differentiate this training step ({type(error).__name__}: {line}); {INSTEAD}"
    )


def _refuse_options(task: Task) -> None:
    """Refuse what a task asks of its update beyond gradient, clipping and optimizer."""
    asked = {
        "after_step": task.after_step is not None,
        "accumulate": task.accumulate != 1,
        "precision": task.precision is not None,
        "loss of the step": task.counts and task.after_step is None,
    }
    found = [name for name, there in asked.items() if there]
    if found:
        msg = f"no tangent dynamics for a task with {' and '.join(found)}; {INSTEAD}"
        raise RequestError(msg)
