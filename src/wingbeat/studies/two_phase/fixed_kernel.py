"""Train with the tangent kernel of one moment held fixed, and see how good the model becomes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from wingbeat.curvature.linearised import linearised
from wingbeat.determinism import derive, deterministic_algorithms, seeded
from wingbeat.measure.outputs import Evaluator
from wingbeat.replicas.drivers.loop import ObjectLoop
from wingbeat.replicas.fork import REFERENCE, twin
from wingbeat.replicas.replicas import Replicas
from wingbeat.replicas.training_run import TrainingRun, advance
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep

if TYPE_CHECKING:
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.task import Task


def fixed_kernel_accuracy(task: Task, at: Snapshot, steps: int) -> float:
    """Return the test accuracy of the tangent model at a moment's reference, trained further.

    The optimizer starts anew, with the task's batches from the first on.

    Args:
        task: what was trained.
        at: the moment.
        steps: updates of the tangent model; 0 gives the accuracy of the moment itself.
    """
    tangent = replace(linearised(task, at), steps=max(1, steps))
    step = TrainingStep(tangent, torch.float32, torch.device("cpu"))
    step.use_objects("a tangent model has a backward pass of its own")
    with seeded(derive(task.seed, "run")), deterministic_algorithms(step.skeleton):
        last = _trained(step, tangent, steps)
        outputs = Evaluator(step, stacked=False, chunk=1)(last)
    if outputs.predictions is None or outputs.labels is None:
        return float("nan")
    good = outputs.predictions[0] == outputs.labels
    return float(good.mean()) if (outputs.predictions[0] >= 0).all() else float("nan")


def _trained(step: TrainingStep, task: Task, steps: int) -> Snapshot:
    batches = Batches(task, step.dtype, step.device)
    run = TrainingRun(step, Replicas(ObjectLoop(step), batches, 1), (), 0, frozenset({steps}))
    start = step.start(task.seed).map(lambda t: t.unsqueeze(0))
    run.replicas.place([twin(REFERENCE, Streams.of(task.seed))], [start])
    for _ in advance(run, steps):
        pass
    return run.snapshot()
