"""One replica with its optimizer's state along training, and the preconditioner in that state."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wingbeat.curvature.hvp import Hessian
from wingbeat.curvature.lanczos import eigenpairs
from wingbeat.curvature.thresholds import of_rule
from wingbeat.errors import DriverError, RequestError
from wingbeat.replicas.drivers.loop import Loop
from wingbeat.replicas.fork import REFERENCE, stack, twin
from wingbeat.replicas.replicas import Replicas
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.precision import left_out
from wingbeat.task.step import State, TrainingStep

if TYPE_CHECKING:
    from wingbeat.task.optimizers import PureOptimizer
    from wingbeat.task.task import Task


@dataclass(frozen=True)
class Moment:
    """One replica after some updates: its state, and the losses ``(updates,)`` since the last."""

    step: int
    state: State
    losses: Tensor


def states_along(
    task: Task, steps: Collection[int], *, dtype: torch.dtype = torch.float64
) -> Iterator[Moment]:
    """Train the reference run and yield its whole state, the optimizer's included, at some steps.

    Snapshots of a run hold weights and buffers only; what depends on the optimizer's state (Adam's
    preconditioned sharpness) needs this. It is the loop driver's reference: same noise, same bits.

    Args:
        task: what to train.
        steps: after how many updates to yield, each from 0 to ``task.steps``.
        dtype: floating-point type of model and data.

    Raises:
        RequestError: a step outside the run.
        DriverError: the optimizer has no pure form.

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> [(m.step, len(m.losses)) for m in states_along(circles_task(), (0, 3))]
        [(0, 0), (3, 3)]
    """
    wanted = sorted(set(steps))
    if wanted and not 0 <= wanted[0] <= wanted[-1] <= task.steps:
        raise RequestError(f"steps {wanted[0]} to {wanted[-1]}: the run has 0 to {task.steps}")
    step = TrainingStep(task, dtype, torch.device("cpu"))
    if step.optimizer is None:
        raise DriverError(step.reason)
    batches = Batches(task, dtype, torch.device("cpu"))
    replicas = Replicas(Loop(step), batches, chunk=1)
    replicas.place([twin(REFERENCE, Streams.of(task.seed))], [stack([step.start(task.seed)])])
    done = 0
    for wish in wanted:
        for index in range(done, wish):
            replicas.advance(index)
        done = wish
        losses = replicas.take_losses()[:, 0]
        yield Moment(wish, replicas.states()[0].map(lambda t: t[0]), losses)


def preconditioner(rule: PureOptimizer, slots: dict[str, Tensor], updates: int) -> Tensor | None:
    """Return the diagonal P by which an optimizer divides its averaged gradient.

    Adam: (1 − β₁ᵗ)(√(v/(1 − β₂ᵗ)) + ε) after t updates, so that the step is −lr·m/P with the
    plain average m. RMSprop and Adagrad: √v + ε. The others do not divide.

    Args:
        rule: the pure optimizer.
        slots: its state, as in ``State.slots``.
        updates: how many it has made, at least 1.

    Returns:
        ``(P,)``, positive; None where the optimizer does not divide.

    Raises:
        RequestError: no update was made yet, or parameter groups have unequal rules.

    Source:
        Cohen et al., "Adaptive gradient methods at the edge of stability" (2022), section 2.
    """
    rules = set(rule.rules())
    if len(rules) > 1:
        raise RequestError("parameter groups have unequal rules: there is no one scale")
    return rules.pop().preconditioner(slots, updates)


@dataclass(frozen=True)
class ThresholdComparison:
    """Curvature and threshold after some updates, in the same units.

    Attributes:
        step: updates made.
        curvature: largest eigenvalue of the Hessian with the L2 penalty, preconditioned where the
            optimizer divides; NaN at step 0 of such an optimizer.
        sharpness: largest eigenvalue of the Hessian alone.
        threshold: where the optimizer becomes unstable; NaN where none is known.
        losses: of the updates since the last comparison.
    """

    step: int
    curvature: float
    sharpness: float
    threshold: float
    losses: tuple[float, ...]


def against_threshold(
    task: Task,
    steps: Collection[int],
    *,
    hessian: Hessian | None = None,
    tolerance: float = 1e-3,
    dtype: torch.dtype = torch.float64,
) -> Iterator[ThresholdComparison]:
    """Train the reference run and compare its curvature with its optimizer's threshold.

    Args:
        task: what to train.
        steps: after how many updates to look.
        hessian: of which loss on which samples; None takes the task's loss on all of its data.
        tolerance: of the eigenvalue's residual, relative.
        dtype: floating-point type of the training.

    Raises:
        RequestError: a step outside the run.
        DriverError: the optimizer has no pure form.

    Example:
        >>> from wingbeat.tasks.dense import digits_mlp_task
        >>> task = digits_mlp_task((8,), batch_norm=False, dropout=0.0, augment=False)
        >>> [c.step for c in against_threshold(task, (0, 2), hessian=Hessian(task, samples=50))]
        [0, 2]
    """
    chosen = hessian or Hessian(task, dtype=dtype)
    rule = chosen.step.optimizer
    for moment in states_along(task, steps, dtype=dtype):
        losses = tuple(moment.losses.tolist())
        state, limit = moment.state, torch.nan
        sharp = curved = torch.nan
        if rule is not None and bool(torch.isfinite(state.params).all()):
            made = moment.step - left_out(state.slots)
            found = of_rule(rule, task.factor(moment.step), made)
            limit = found.value
            operator = chosen.at((state.params, state.buffers))
            sharp = float(eigenpairs(operator, tolerance=tolerance).values[0, 0])
            curved = sharp + found.penalty
            if found.of != "sharpness":
                curved = torch.nan
            if found.of != "sharpness" and made:
                scale = preconditioner(rule, state.slots, made)
                assert scale is not None
                shifted = operator.shifted(found.penalty).scaled(scale)
                curved = float(eigenpairs(shifted, tolerance=tolerance).values[0, 0])
        yield ThresholdComparison(moment.step, curved, sharp, limit, losses)
