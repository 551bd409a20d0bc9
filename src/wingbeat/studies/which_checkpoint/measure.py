"""What the study of checkpoints reads off a run: how copies part, what they and the rest gain."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from wingbeat.curvature.along import curvature_along, even_samples
from wingbeat.curvature.hvp import Hessian
from wingbeat.execution.run import run
from wingbeat.landscape import Models, Probe, line
from wingbeat.landscape import soup as soup_of
from wingbeat.replicas.fork import REFERENCE
from wingbeat.studies.curvature import Measured, number, task_of
from wingbeat.studies.which_checkpoint.plan import NUDGE, ORDER, SMALL
from wingbeat.task.step import TrainingStep
from wingbeat.tasks.small_mnist import small_mnist_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from torch import Tensor, nn

    from wingbeat.execution.result import Result
    from wingbeat.task.task import Task

POINTS: Final = 5
"""Points on the line between two nets: barriers of this study are wide."""
SAMPLES: Final = 400
"""Training images of which the sharpness is taken."""
TUNED_ON: Final = 100
"""Images of the other digits that a net is fine-tuned on: few, so that what it brings counts."""
TUNING_STEPS: Final = 60
TUNING_BATCH: Final = 20
HEAD: Final = 2
"""Last tensors of a net, its head's weights and biases: a fine-tuned net begins with new ones."""


def outcomes(result: Result) -> Measured:
    """Return how sensitive training is from a checkpoint on, and what the checkpoint is good for.

    Names: ``log_growth`` (ln of distance at the end ÷ right after the nudge, mean over copies),
    ``exponent`` (the same of the small nudge, per update), ``distance`` (over the norm of the
    weights), ``apart`` (share of unseen digits that nudged copies answer otherwise than the
    reference), ``barrier`` and ``barrier_order`` (of nudged copies and of those in another order
    to the reference, test loss), ``sharpness`` (at the checkpoint); ``accuracy_at``; of the copies
    in another order at the end ``member_loss``, ``member_accuracy``, of their average
    ``average_loss``, ``average_accuracy``, and what it gains ``gain_loss``, ``gain_accuracy``; and
    ``tuned_accuracy`` (on the other digits, fine-tuned from the checkpoint).
    """
    task, (at, end), table = task_of(result), result.steps[-2:], result.table
    sharp = curvature_along(
        result,
        task,
        steps=(at,),
        labels=(REFERENCE,),
        hessian=Hessian(task, samples=even_samples(task, SAMPLES)),
    )
    further = end - at
    return {
        "log_growth": number(log_growth(table, NUDGE)),
        "exponent": number(log_growth(table, SMALL) / further),
        "distance": number(of_copies(table, "relative_l2", NUDGE, end)),
        "apart": number(of_copies(table, "disagreement", NUDGE, end)),
        "sharpness": number(float(sharp["value"].iloc[0])),
        "accuracy_at": number(of_copies(table, "accuracy", REFERENCE, at)),
        **{name: number(value) for name, value in joined(task, result).items()},
        "tuned_accuracy": number(tuned(task, result, at)),
    }


def of_copies(table: pd.DataFrame, metric: str, name: str, step: int) -> float:
    """Return the mean of a metric over the copies of a name at a step."""
    rows = table[(table["metric"] == metric) & (table["layer"] == "") & (table["step"] == step)]
    rows = rows[rows["b"].str.partition("#")[0] == name]
    return float(rows["value"].mean())


def log_growth(table: pd.DataFrame, name: str) -> float:
    """Return the mean over copies of ln distance at the end less ln distance at the fork.

    Distances are to the reference, and the first record that a copy has is right after its nudge.
    """
    rows = table[(table["metric"] == "l2") & (table["layer"] == "") & (table["a"] == REFERENCE)]
    rows = rows[rows["b"].str.partition("#")[0] == name]
    wide = rows.pivot_table(index="step", columns="b", values="value").sort_index()
    return float(np.log(wide.iloc[-1] / wide.iloc[0]).mean())


def joined(task: Task, result: Result) -> dict[str, float]:
    """Return barriers to the reference at the end, and what the average of weights gains."""
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    probe = Probe(step, data={"test": task.eval_data})
    snapshot = result.trajectory.at(result.steps[-1])
    models = Models.of_snapshot(step, snapshot)
    places = {
        name: [i for i, label in enumerate(snapshot.labels) if label.partition("#")[0] == name]
        for name in (NUDGE, ORDER)
    }
    pairs = [(0, i) for own in places.values() for i in own]
    heights = line(probe, models, pairs, POINTS).curve("loss_test").barrier().value
    found = soup_of(probe, models.take(places[ORDER]))
    loss, error = (float(found.members[f"{name}_test"].mean()) for name in ("loss", "error"))
    return {
        "barrier": float(heights[: len(places[NUDGE])].mean()),
        "barrier_order": float(heights[len(places[NUDGE]) :].mean()),
        "member_loss": loss,
        "member_accuracy": 1.0 - error,
        "average_loss": found.plain["loss_test"],
        "average_accuracy": 1.0 - found.plain["error_test"],
        "gain_loss": found.gain("loss_test"),
        "gain_accuracy": found.gain("error_test"),
    }


def tuned(task: Task, result: Result, at: int) -> float:
    """Return the accuracy on the other digits after fine-tuning from the reference at a step."""
    snapshot = result.trajectory.at(at)
    weights = {name: tensor[0].cpu() for name, tensor in snapshot.params.items()}
    own = small_mnist_task(**tuning_arguments(result.condition["factory"]["arguments"]))
    other = replaced(own, weights, task.seed)
    found = run(other, (), driver="loop", metrics=("accuracy",), record_every=TUNING_STEPS)
    return of_copies(found.table, "accuracy", REFERENCE, TUNING_STEPS)


def tuning_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the factory's arguments of the task that a net is fine-tuned on."""
    changed = {"digits": "second", "samples": TUNED_ON, "batch_size": TUNING_BATCH}
    return {**arguments, **changed, "steps": TUNING_STEPS}


def replaced(task: Task, weights: Mapping[str, Tensor], seed: int) -> Task:
    """Return a task that begins with given weights but in the head, which its seed draws."""
    return replace(task, model=partial(_begun, task.model, dict(weights)), seed=seed)


def _begun(model: Any, weights: Mapping[str, Tensor]) -> nn.Module:
    net: nn.Module = model()
    own = list(net.named_parameters())
    with torch.no_grad():
        for name, parameter in own[:-HEAD]:
            parameter.copy_(weights[name])
    return net
