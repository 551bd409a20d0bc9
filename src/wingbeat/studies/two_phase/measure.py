"""What the study of two phases reads off a finished run: numbers as ``name/step`` or ``name/a/b``.

Nothing is judged here: what follows from the numbers is computed in `found`, from all base seeds.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from wingbeat.curvature.along import even_samples
from wingbeat.curvature.tangent import TangentKernel
from wingbeat.landscape import Models, Probe, line
from wingbeat.measure.features import replica_tensors
from wingbeat.metrics.kernel import kernel_angle, kernel_distance
from wingbeat.metrics.structure import structure_function
from wingbeat.replicas.fork import REFERENCE
from wingbeat.studies.curvature import Measured, number, task_of
from wingbeat.studies.two_phase.fixed_kernel import fixed_kernel_accuracy
from wingbeat.studies.two_phase.plan import WINDOW
from wingbeat.task.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from torch import Tensor

    from wingbeat.execution.result import Result
    from wingbeat.trajectory.trajectory import Trajectory
    from wingbeat.typing import Array

KERNEL_SAMPLES: Final = 64
"""Training samples of a kernel."""
BARRIER_SAMPLES: Final = 512
"""Test samples of a barrier, at most."""
BARRIER_POINTS: Final = 11


def two_phases(result: Result) -> Measured:
    """Return everything that the study reads off the run of one base seed."""
    forks = {str(p["name"]): int(p["at"]) for p in result.perturbations}
    step = TrainingStep(task_of(result), torch.float32, torch.device("cpu"))
    at = sorted(forks.values())
    moments, elapsed = columns(at, result.steps), elapsed_of(at, result.steps)
    return {
        "elapsed": number(elapsed),
        **nudges(result),
        **grid(result.table, forks, sorted({*moments, *(t + elapsed for t in at)})),
        **barriers(step, result.trajectory, forks, elapsed),
        **kernels(step, result.trajectory, at, moments, elapsed),
        **way(step, result.trajectory, at, elapsed),
        **fixed(result, at),
    }


def nudges(result: Result) -> Measured:
    """Return the size that nudges really had, and below what a disagreement cannot be told from 0.

    The latter is half a prediction of all those that one fork's copies make.
    """
    found = {
        f"nudge/{p['at']}": number(float(np.mean(p["realised"]["l2"])))
        for p in result.perturbations
    }
    task = task_of(result)
    assert task.eval_data is not None
    predictions = len(task.eval_data[0]) * int(result.perturbations[0]["replicas"])
    return {**found, "resolution": number(0.5 / predictions)}


def elapsed_of(forks: list[int], steps: tuple[int, ...]) -> int:
    """Return the updates between a nudge and the look at what became of it.

    The longest recorded time of at most a quarter of training that every fork has left.

    >>> elapsed_of([0, 10, 20, 40], tuple(range(0, 101, 10)))
    20
    """
    end = steps[-1]
    left = min(end // 4, end - forks[-1])
    return max(t for t in steps if t <= max(left, steps[1]))


def columns(forks: list[int], steps: tuple[int, ...]) -> list[int]:
    """Return the moments of a map: forks, what lies halfway between them, and the end.

    >>> columns([0, 10, 20, 40], tuple(range(0, 101, 10)))
    [0, 10, 20, 30, 40, 60, 80, 100]
    """
    wanted = {*forks, steps[-1]}
    wanted |= {(a + b) // 2 for a, b in pairwise(forks) if a}
    at = forks[-1]
    while at * 2 < steps[-1]:
        wanted |= {at + at // 2, at * 2}
        at *= 2
    return sorted(wanted & set(steps))


def grid(table: pd.DataFrame, forks: dict[str, int], ends: list[int]) -> Measured:
    """Return how far copies nudged at t0 are at t1, as ``name/t0/t1``: means over copies."""
    found: Measured = {}
    whole = table[(table["layer"] == "") & (table["a"] == REFERENCE) & table["step"].isin(ends)]
    for metric, name in (("disagreement", "disagreement"), ("cosine", "dissimilarity")):
        own = whole[whole["metric"] == metric]
        for fork, at in forks.items():
            rows = own[(own["perturbation"] == fork) & (own["step"] >= at)]
            for step, values in rows.groupby("step")["value"]:
                mean = float(values.mean(skipna=False))
                mean = 1 - mean if metric == "cosine" else mean
                found[f"{name}/{at}/{step}"] = number(mean)
    return found


def barriers(
    step: TrainingStep, trajectory: Trajectory, forks: dict[str, int], elapsed: int
) -> Measured:
    """Return the mean barrier of the test loss, ``barrier/t0/t1``, after equal time and at the end.

    Where the model holds running statistics they are estimated anew at every point of a line, on
    training data.
    """
    data = {"test": step.task.eval_data}
    if any("running" in name for name in step.start(0).buffers):
        data = {"train": step.task.data, **data}
    stacked = None if step.functional else False
    probe = Probe(step, data=data, samples=BARRIER_SAMPLES, stacked=stacked)
    found: Measured = {}
    for fork, at in forks.items():
        for end in {at + elapsed, trajectory.steps[-1]}:
            models = Models.of_snapshot(step, trajectory.at(end))
            own = [i for i, label in enumerate(models.labels) if label.startswith(f"{fork}#")]
            height = float("nan")
            if models.finite[[0, *own]].all():
                curve = line(probe, models, [(0, i) for i in own], BARRIER_POINTS)
                height = float(curve.curve("loss_test").barrier().value.mean())
            found[f"barrier/{at}/{end}"] = number(height)
    return found


def kernels(
    step: TrainingStep, trajectory: Trajectory, forks: list[int], moments: list[int], elapsed: int
) -> Measured:
    """Return how the reference's tangent kernel ("trace") turns, grows and stays.

    ``angle/t/s`` in radian between the kernels of two moments; ``turn/dt/t`` that between a fork
    and dt later, for doubling dt up to the time after which nudged copies are looked at;
    ``structure/dt``, ``slope`` and ``plateau`` over the last part of training, see
    `structure_function`. All of them again, with ``centred_`` before, for centred kernels.
    ``norm/t`` of the kernel in units of the first, ``growth`` of the norm over the last part.
    """
    kernel = TangentKernel(step.task, even_samples(step.task, KERNEL_SAMPLES))
    steps = list(trajectory.steps)
    made = {s: kernel.matrix(*replica_tensors(kernel.step, trajectory.at(s), 0)) for s in steps}
    norms = {s: float(np.linalg.norm(k)) for s, k in made.items()}
    late = next(s for s in steps if s >= WINDOW * steps[-1])
    found: Measured = {f"norm/{s}": number(norms[s] / norms[steps[0]]) for s in moments}
    found["growth"] = number(norms[steps[-1]] / norms[late])
    for prefix, centred in (("", False), ("centred_", True)):
        angle = partial(kernel_angle, centred=centred)
        found |= {
            f"{prefix}angle/{a}/{b}": number(angle(made[a], made[b]))
            for a, b in combinations(moments, 2)
        }
        found |= {
            f"{prefix}turn/{dt}/{t}": number(angle(made[t], made[t + dt]))
            for dt in lags(steps, elapsed)
            for t in forks
        }
        own = {s: k for s, k in made.items() if s >= late}
        found |= confinement_of(own, prefix, centred=centred)
    return found


def lags(steps: list[int], elapsed: int) -> list[int]:
    """Return doubling times between records, and the longest one.

    >>> lags(list(range(0, 101, 10)), 50)
    [10, 20, 40, 50]
    """
    found, dt = [], steps[1]
    while dt < elapsed:
        found.append(dt)
        dt *= 2
    return [*found, elapsed]


def confinement_of(made: dict[int, Array], prefix: str, *, centred: bool) -> Measured:
    """Return slope, plateau and structure function of kernels by step, names after a prefix."""
    apart = np.zeros((len(made), len(made)))
    for (i, a), (j, b) in combinations(enumerate(made.values()), 2):
        apart[i, j] = apart[j, i] = kernel_distance(a, b, centred=centred)
    if not np.isfinite(apart).all():
        return {f"{prefix}{name}": number(float("nan")) for name in ("slope", "plateau")}
    found = structure_function(apart, list(made))
    return {
        f"{prefix}slope": number(found.slope.value, found.slope.reason),
        f"{prefix}plateau": number(found.plateau),
        **{
            f"{prefix}structure/{int(t)}": number(float(v))
            for t, v in zip(found.dt, found.mean, strict=True)
        },
    }


def way(step: TrainingStep, trajectory: Trajectory, forks: list[int], elapsed: int) -> Measured:
    """Return how far the reference's weights get from a fork on in equal time: ``way/t``.

    As the angle of their directions in radian, so that it compares with that of the kernel.
    """
    found: Measured = {}
    for at in forks:
        pair = (trajectory.at(at), trajectory.at(at + elapsed))
        a, b = (step.layout.flatten(s.params)[0] for s in pair)
        found[f"way/{at}"] = number(turned(a, b))
    return found


def turned(first: Tensor, second: Tensor) -> float:
    """Return the angle between two flat weights in radian.

    >>> round(turned(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])), 6)
    1.570796
    """
    a, b = first.double(), second.double()
    chord = (a / a.norm() - b / b.norm()).norm() / 2
    return 2 * float(chord.clamp(max=1.0).asin())


def evenly(steps: Sequence[int], share: float) -> list[int]:
    """Return the evenly spaced records of a run after a share of it.

    >>> evenly([0, 4, 8, 10], 0.4)
    [4, 8]
    """
    return [s for s in steps if s >= share * steps[-1] and s % steps[1] == 0]


def fixed(result: Result, forks: list[int]) -> Measured:
    """Return what training with the kernel of a moment held fixed reaches by the end.

    ``linearised/t`` is the test accuracy of the tangent model at t, trained for the updates that
    were left; ``stopped/t`` that of the model at t; ``full`` that of the whole training.
    """
    table, end = result.table, result.steps[-1]
    own = table[
        (table["metric"] == "accuracy") & (table["b"] == REFERENCE) & (table["layer"] == "")
    ]
    reached = own.set_index("step")["value"]
    found = {"full": number(float(reached[end]))}
    task = task_of(result)
    for at in forks:
        accuracy = fixed_kernel_accuracy(task, result.trajectory.at(at), end - at)
        found |= {f"linearised/{at}": number(accuracy), f"stopped/{at}": number(float(reached[at]))}
    return found
