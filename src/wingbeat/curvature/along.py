"""Curvature along training, on the snapshots that a run has recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from wingbeat.curvature.hvp import Hessian
from wingbeat.curvature.lanczos import Eigenpairs, Which, eigenpairs
from wingbeat.curvature.linear import Operator
from wingbeat.curvature.trace import hutch_plus_plus
from wingbeat.errors import DIVERGED, RequestError
from wingbeat.replicas.fork import NULL, REFERENCE
from wingbeat.task.data import len_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.task import Task
    from wingbeat.trajectory.trajectory import Trajectory

SHARPNESS_SAMPLES: Final = 1000
"""Samples that the run metric looks at where the task has more."""
TOLERANCE: Final = 1e-3
"""Residual of an eigenvalue over the largest one; the error of the value is about its square over
the relative gap to the next one."""
COLUMNS: Final = (
    "metric", "step", "perturbation", "a", "b", "layer", "value", "error", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class CurvatureSample:
    """What to compute at each snapshot.

    Attributes:
        k: eigenvalues at each end.
        which: "largest" (algebraic), "smallest" or "both" ends.
        layers: also of each module's diagonal block.
        trace: products for the trace by Hutch++; 0 leaves it out.
        tolerance: of the eigenvalues' residuals, relative to the largest.
        most: products of each replica at most.
        seed: of the starting vectors and probes.
    """

    k: int = 1
    which: Which = "largest"
    layers: bool = False
    trace: int = 0
    tolerance: float = TOLERANCE
    most: int = 300
    seed: int = 0


def sharpness(
    task: Task,
    snapshot: Snapshot,
    *,
    hessian: Hessian | None = None,
    tolerance: float = TOLERANCE,
) -> NDArray[np.float64]:
    """Return the largest Hessian eigenvalue of the training loss for each replica.

    Args:
        task: model, loss and data.
        snapshot: all replicas at one step.
        hessian: made once and handed over again where several snapshots are looked at; None makes
            one of at most ``SHARPNESS_SAMPLES`` training samples (see ``even_samples``), in
            "train" mode, in float64.
        tolerance: residual of the eigenvalue relative to it.

    Returns:
        ``(replicas,)`` in units of loss/weight², any sign; large = a narrow valley. NaN where a
        weight is not finite (reason ``diverged``).

    Source:
        Cohen et al., "Gradient descent on neural networks typically occurs at the edge of
        stability" (2021), section 2.

    Example:
        >>> from wingbeat.execution.run import run
        >>> from wingbeat.tasks.dense import circles_task
        >>> task = circles_task((4,), epochs=1)
        >>> result = run(task, [], driver="loop", metrics=("l2",))
        >>> sharpness(task, result.trajectory.at(0)).shape
        (2,)
    """
    chosen = hessian or default_hessian(task)
    found = finite_points(snapshot, chosen)
    look = CurvatureSample(tolerance=tolerance)
    return _eigen(chosen, found, look, "").values[:, 0].cpu().numpy()


def default_hessian(task: Task) -> Hessian:
    """Return the Hessian of ``SHARPNESS_SAMPLES`` evenly spaced samples, or of all if fewer.

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> len(default_hessian(circles_task(n=1200)).indices)
        1000
    """
    return Hessian(task, samples=even_samples(task))


def even_samples(task: Task, most: int = SHARPNESS_SAMPLES) -> tuple[int, ...]:
    """Return the indices of all training samples, or of ``most`` evenly spaced ones.

    Evenly spaced, because data that are sorted by class would give the first few classes alone.

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> even_samples(circles_task(n=1200), 4)
        (0, 300, 600, 900)
    """
    size = len_of(task.data)
    return tuple(i * size // most for i in range(most)) if size > most else tuple(range(size))


def curvature_along(
    source: Trajectory | Any,
    task: Task,
    *,
    look: CurvatureSample | None = None,
    steps: Iterable[int] | None = None,
    labels: Sequence[str] | None = None,
    hessian: Hessian | None = None,
) -> pd.DataFrame:
    """Return eigenvalues, and on request traces, at the recorded steps of a run.

    Args:
        source: a trajectory, or a result (its first base seed's trajectory is taken).
        task: the task of that run.
        look: what to compute; None takes the largest eigenvalue.
        steps: recorded steps; None takes all.
        labels: replicas by label; None takes all. The null twin is computed like every other.
        hessian: of which loss on which samples; None takes the task's loss on all its data.

    Returns:
        Tidy rows: metric ("sharpness" is the largest eigenvalue, then "eigenvalue_2", …,
        "smallest_eigenvalue", "smallest_eigenvalue_2", …, "trace"), step, perturbation, a, b
        (always ""), layer ("" the whole), value, error (residual of an eigenvalue: the true one
        is that close; standard error of a trace) and reason.

    Raises:
        RequestError: a step that was not recorded or an unknown label.

    Example:
        >>> from wingbeat.execution.run import run
        >>> from wingbeat.tasks.dense import circles_task
        >>> task = circles_task((4,), epochs=1)
        >>> result = run(task, [], driver="loop", metrics=("l2",))
        >>> table = curvature_along(result, task, steps=(0, 32), labels=("reference",))
        >>> table[["metric", "step", "a"]].values.tolist()
        [['sharpness', 0, 'reference'], ['sharpness', 32, 'reference']]
    """
    trajectory: Trajectory = getattr(source, "trajectory", source)
    chosen, wish = hessian or Hessian(task), look or CurvatureSample()
    wanted = asked_steps(trajectory, steps, labels)
    rows = [row for step in wanted for row in _rows(chosen, trajectory.at(step), wish, labels)]
    import pandas as pd  # late: 0.3 s that other runs need not pay

    return pd.DataFrame(rows, columns=list(COLUMNS))


def asked_steps(
    trajectory: Trajectory, steps: Iterable[int] | None, labels: Sequence[str] | None
) -> tuple[int, ...]:
    """Return the steps to look at: those asked for, or all that were recorded.

    Raises:
        RequestError: a step that was not recorded or an unknown label.
    """
    wanted = trajectory.steps if steps is None else tuple(steps)
    missing = sorted(set(wanted) - set(trajectory.steps))
    if missing:
        raise RequestError(f"step {missing[0]} was not recorded: use some of {trajectory.steps}")
    unknown = sorted(set(labels or ()) - set(trajectory.labels))
    if unknown:
        raise RequestError(f"no replica {unknown[0]!r}: use some of {trajectory.labels}")
    return tuple(wanted)


def _rows(
    hessian: Hessian, snapshot: Snapshot, look: CurvatureSample, labels: Sequence[str] | None
) -> Iterator[tuple[Any, ...]]:
    found = finite_points(snapshot, hessian, labels)
    for layer in ("", *(hessian.layers if look.layers else ())):
        size = hessian.layout.size
        if layer:
            place = hessian.layers[layer]
            size = place.stop - place.start
        fitting = CurvatureSample(**{**vars(look), "k": min(look.k, max(1, size // 2))})
        pairs = _eigen(hessian, found, fitting, layer)
        for column, name in enumerate(_names(fitting)):
            yield from _named(
                snapshot.step, found, layer, name, pairs.values[:, column],
                pairs.residuals[:, column],
            )  # fmt: skip
        if look.trace:
            values, errors = _trace(hessian, found, look, layer)
            yield from _named(snapshot.step, found, layer, "trace", values, errors)


def _names(look: CurvatureSample) -> list[str]:
    high = ["sharpness", *(f"eigenvalue_{i}" for i in range(2, look.k + 1))]
    low = ["smallest_eigenvalue", *(f"smallest_eigenvalue_{i}" for i in range(2, look.k + 1))]
    return {"largest": high, "smallest": low, "both": high + low}[look.which]


def _named(
    step: int, found: Points, layer: str, name: str, values: Tensor, errors: Tensor
) -> Iterator[tuple[Any, ...]]:
    for label, value, error in zip(found.labels, values.tolist(), errors.tolist(), strict=True):
        owner = {REFERENCE: "", NULL: NULL}.get(label, label.rsplit("#", 1)[0])
        reason = DIVERGED if value != value else ""  # noqa: PLR0124  (NaN)
        yield name, step, owner, label, "", layer, value, error, reason


@dataclass(frozen=True)
class Points:
    """Chosen replicas of a snapshot, and the places of those whose weights are finite."""

    labels: tuple[str, ...]
    fine: list[int]
    params: Tensor
    buffers: dict[str, Tensor]


def finite_points(
    snapshot: Snapshot, hessian: Hessian, labels: Sequence[str] | None = None
) -> Points:
    """Return the chosen replicas of a snapshot whose weights are finite, and where they stand."""
    keep = [i for i, x in enumerate(snapshot.labels) if labels is None or x in labels]
    params, buffers = hessian.point(snapshot)
    params = params[keep]
    fine = torch.isfinite(params).all(1).nonzero()[:, 0].tolist()
    rows = [keep[i] for i in fine]
    return Points(
        tuple(snapshot.labels[i] for i in keep),
        fine,
        params[fine],
        {k: b[rows] for k, b in buffers.items()},
    )


def _operator(hessian: Hessian, found: Points, layer: str) -> Operator:
    return hessian.at((found.params, found.buffers), layer)


def _eigen(hessian: Hessian, found: Points, look: CurvatureSample, layer: str) -> Eigenpairs:
    """Return the eigenvalues of all replicas, NaN for those with weights that are not finite."""
    count = look.k * (2 if look.which == "both" else 1)
    values = torch.full((len(found.labels), count), torch.nan, dtype=torch.float64)
    residuals, converged = values.clone(), torch.zeros_like(values, dtype=torch.bool)
    if not found.fine:
        return Eigenpairs(values, values[:, :, None], residuals, converged, 0)
    pairs = eigenpairs(
        _operator(hessian, found, layer),
        look.k,
        which=look.which,
        tolerance=look.tolerance,
        most=look.most,
        seed=look.seed,
    )
    values[found.fine] = pairs.values.double().cpu()
    residuals[found.fine] = pairs.residuals.double().cpu()
    converged[found.fine] = pairs.converged.cpu()
    return Eigenpairs(values, pairs.vectors, residuals, converged, pairs.products)


def _trace(
    hessian: Hessian, found: Points, look: CurvatureSample, layer: str
) -> tuple[Tensor, Tensor]:
    values = torch.full((len(found.labels),), torch.nan, dtype=torch.float64)
    errors = values.clone()
    if found.fine:
        made = hutch_plus_plus(_operator(hessian, found, layer), look.trace, seed=look.seed)
        values[found.fine], errors[found.fine] = (
            made.value.double().cpu(),
            made.error.double().cpu(),
        )
    return values, errors
