"""The spectral density of the Hessian along training, of all replicas of a snapshot at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from wingbeat.curvature.along import asked_steps, default_hessian, finite_points
from wingbeat.curvature.density import density
from wingbeat.errors import DIVERGED

if TYPE_CHECKING:
    import pandas as pd

    from wingbeat.curvature.hvp import Hessian
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.task import Task
    from wingbeat.trajectory.trajectory import Trajectory

COLUMNS: Final = ("step", "a", "eigenvalue", "density", "error", "reason")


def density_along(
    source: Trajectory | Any,
    task: Task,
    *,
    hessian: Hessian | None = None,
    steps: Iterable[int] | None = None,
    labels: Sequence[str] | None = None,
    probes: int = 8,
    lanczos: int = 60,
    points: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the density of the Hessian's eigenvalues at the recorded steps of a run.

    Args:
        source: a trajectory, or a result (its first base seed's trajectory is taken).
        task: the task of that run.
        hessian: of which loss on which samples; None takes at most 1,000 training samples.
        steps: recorded steps; None takes all.
        labels: replicas by label; None takes all.
        probes: random starting vectors, the same for all replicas.
        lanczos: products of each probe, at most the number of parameters.
        points: of each curve.
        seed: of the probes.

    Returns:
        Tidy rows: step, a (the replica), eigenvalue (loss/weight², any sign), density (at least
        0; integrates to 1 over the eigenvalues), error (standard, over probes) and reason. A
        replica whose weights are not finite has one row without numbers.

    Raises:
        RequestError: a step that was not recorded, an unknown label, or a number out of range.

    Source:
        Ghorbani, Krishnan and Xiao, "An investigation into neural net optimization via Hessian
        eigenvalue density" (2019).

    Example:
        >>> from wingbeat.execution.run import run
        >>> from wingbeat.tasks.dense import circles_task
        >>> task = circles_task((4,), epochs=1)
        >>> result = run(task, [], driver="loop", metrics=("l2",))
        >>> table = density_along(result, task, steps=(32,), lanczos=5, points=10)
        >>> table.groupby("a").size().tolist()
        [10, 10]
    """
    trajectory: Trajectory = getattr(source, "trajectory", source)
    chosen = hessian or default_hessian(task)
    rows: list[tuple[Any, ...]] = []
    for step in asked_steps(trajectory, steps, labels):
        rows += _rows(trajectory.at(step), chosen, labels, probes, lanczos, points, seed)
    import pandas as pd  # late: 0.3 s that other runs need not pay

    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(
    snapshot: Snapshot,
    hessian: Hessian,
    labels: Sequence[str] | None,
    probes: int,
    lanczos: int,
    points: int,
    seed: int,
) -> Iterator[tuple[Any, ...]]:
    found = finite_points(snapshot, hessian, labels)
    nan = float("nan")
    for place, label in enumerate(found.labels):
        if place not in found.fine:
            yield snapshot.step, label, nan, nan, nan, DIVERGED
    if not found.fine:
        return
    operator = hessian.at((found.params, found.buffers))
    grid, curve, error = density(operator, probes=probes, steps=lanczos, seed=seed).curve(points)
    for row, place in enumerate(found.fine):
        columns = (grid[row].tolist(), curve[row].tolist(), error[row].tolist())
        for numbers in zip(*columns, strict=True):
            yield snapshot.step, found.labels[place], *numbers, ""
