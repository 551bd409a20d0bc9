"""Metrics of one's own are tried on the untrained model before training is spent on them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from wingbeat.determinism import seeded
from wingbeat.errors import RequestError
from wingbeat.landscape.data import select_samples
from wingbeat.measure.metric import METRICS, own_codes
from wingbeat.measure.one_moment import rows_of_moment
from wingbeat.measure.outputs import Evaluator
from wingbeat.replicas.fork import NULL, REFERENCE
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.task.hidden_state import HiddenState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wingbeat.measure.metric import Metric
    from wingbeat.task.step import TrainingStep

_NOISE = 1e-3  # relative: replicas that are equal would hide or break what compares them
_REPLICAS = 2  # of each perturbation, and as many perturbations: shapes do not depend on more


def rehearse(names: Iterable[str], step: TrainingStep, perturbations: Sequence[str]) -> None:
    """Call every metric of one's own once, as after 0 updates, on a few replicas.

    Nothing is kept: seeds and whatever the model remembers are as before.

    Args:
        names: of the metrics that were asked for.
        step: the task's pure step.
        perturbations: labels of the perturbations of the run.

    Raises:
        RequestError: one returns another shape than its declaration says, or fails; it is named.
    """
    own = [METRICS.find(name) for name in own_codes(names)]
    if not own:
        return
    snapshot = _untrained(step, perturbations[:_REPLICAS])
    hidden = HiddenState(step.task, step.skeleton)
    with hidden.kept(), seeded(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as of a mean over no step yet
        for metric in own:
            try:
                rows_of_moment([metric], snapshot, step, _evaluator(metric, step))
            except RequestError:
                raise
            except Exception as error:  # whatever a function of somebody else raises
                raise RequestError(
                    f"metric {metric.name!r} fails before the first update: "
                    f"{type(error).__name__}: {error}; nothing was trained"
                ) from error


def _untrained(step: TrainingStep, perturbations: Sequence[str]) -> Snapshot:
    replicas = [f"{name}#{i + 1}" for name in perturbations for i in range(_REPLICAS)]
    labels = (REFERENCE, NULL, *replicas)
    start = step.start(step.task.seed)
    flat = start.params.expand(len(labels), -1).clone()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(replicas), flat.shape[1], generator=generator).to(flat)
    flat[2:] += _NOISE * noise * (flat[2:].abs() + flat.abs().mean())
    buffers = {k: b.expand(len(labels), *b.shape).clone() for k, b in start.buffers.items()}
    no_steps = torch.zeros(0, len(labels))
    return Snapshot(0, labels, step.layout.unflatten(flat), buffers, no_steps)


def _evaluator(metric: Metric, step: TrainingStep) -> Evaluator | None:
    """Return what gives a metric of outputs one batch of the evaluation data."""
    if metric.needs != "outputs":
        return None
    evaluator = Evaluator(step, stacked=False, wanted=[metric.name])
    few = select_samples(step.task.eval_data, step.task.batch_size)
    evaluator.task = replace(step.task, eval_data=few)
    return evaluator
