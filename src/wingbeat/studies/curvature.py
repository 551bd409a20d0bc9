"""What the studies of curvature measure on each finished run: ``Result -> {name: estimate}``.

Numbers along training are stored as ``name/step``; the tables of a study leave such names to the
records, from which `wingbeat.study.finished.series` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.curvature.along import CurvatureSample, curvature_along, default_hessian
from wingbeat.curvature.catapult import catapult
from wingbeat.curvature.condensation import condensation, relative_change
from wingbeat.curvature.edge import edge_of_stability
from wingbeat.curvature.gradient_noise import break_even as look_at_noise
from wingbeat.curvature.hvp import Hessian
from wingbeat.curvature.thresholds import of_rule
from wingbeat.errors import DIVERGED, NOT_REACHED, NOT_RESAMPLED, TOO_FEW_POINTS, RequestError
from wingbeat.replicas.fork import REFERENCE
from wingbeat.stats import Estimate
from wingbeat.study.condition import named

if TYPE_CHECKING:
    from wingbeat.execution.result import Result
    from wingbeat.task.task import Task

Measured = dict[str, dict[str, Any]]
NOISE_GRADIENTS: Final = 100
"""Gradients that the covariance K is made of."""
EXPONENT_WARMUP: Final = 10
"""Updates before tangents start."""
DEFINITIONS: Final = {
    "sharpness": "Largest eigenvalue of the Hessian of the mean training loss (block Lanczos on "
    "Hessian-vector products), with the penalty of weight decay. Over at most 1,000 evenly "
    "spaced training samples.",
    "threshold": "Curvature above which the optimizer's step is unstable on a quadratic: 2/η for "
    "gradient descent, (2 + 2β)/η with Polyak's, (2 + 2β)/(η(1 + 2β)) with Nesterov's momentum.",
    "intervals": "95 %, Student's over base seeds; none below three seeds.",
}
"""Words of the studies of curvature, for their pages."""


def task_of(result: Result) -> Task:
    """Return the task that a study's run was made from, with the seed of its first base seed.

    Raises:
        RequestError: the run was not made by a ``module:factory``.
    """
    made = result.condition.get("factory")
    if not made:
        raise RequestError("the run was not made by a module:factory: its task is not known")
    task: Task = named(made["place"])(**made["arguments"])
    return replace(task, seed=next(iter(result.trajectories)))


def number(value: float, reason: str = "") -> dict[str, Any]:
    """Return one number of one run as an estimate in JSON; not finite is undefined.

    Example:
        >>> number(2.0)["value"], number(float("inf"))["reason"]
        (2.0, 'diverged')
    """
    if not isfinite(value):
        return Estimate.undefined(reason or DIVERGED).to_json()
    return Estimate(value, interval_reason=NOT_RESAMPLED).to_json()


def word(text: str) -> dict[str, Any]:
    """Return a verdict as an entry of a record.

    Example:
        >>> word("edge")
        {'value': 'edge', 'low': None, 'high': None, 'reason': ''}
    """
    return {"value": text, "low": None, "high": None, "reason": ""}


def along(name: str, pairs: Iterable[tuple[int, float]]) -> Measured:
    """Return numbers along training under ``name/step``.

    Example:
        >>> list(along("sharpness", [(0, 1.0), (20, 2.0)]))
        ['sharpness/0', 'sharpness/20']
    """
    return {f"{name}/{step}": number(value) for step, value in pairs}


def sharpness(result: Result) -> Measured:
    """Sharpness of the reference along training, against its threshold, with both verdicts.

    Names: ``sharpness_start``, ``sharpness_end``, ``sharpness_ratio`` (median of sharpness ÷
    threshold over the last third of the snapshots), ``threshold``, ``sharpening``, ``hover``,
    ``reached`` (step), ``edge``, ``phase_at_start`` (lazy, catapult, divergent) and
    ``sharpness/<step>``, ``threshold/<step>``, ``loss/<step>``. The penalty of weight decay is
    part of the sharpness here. For optimizers that divide by a scale the threshold is that of the
    preconditioned sharpness, which snapshots do not give: ratios and verdicts are then undefined.
    """
    task = task_of(result)
    hessian = default_hessian(task)
    table = curvature_along(
        result, task, hessian=hessian, labels=(REFERENCE,), look=CurvatureSample()
    )
    steps = [int(s) for s in table["step"]]
    limits = [_limit(hessian, task, step) for step in steps]
    values = [float(v) + penalty for v, (_, penalty) in zip(table["value"], limits, strict=True)]
    losses = result.trajectory.losses[:, 0].double().tolist()
    thresholds = [limit for limit, _ in limits]
    edge = edge_of_stability(steps, values, thresholds, losses)
    missing = NOT_REACHED if edge.reached is None else TOO_FEW_POINTS
    ratios = torch.tensor(values, dtype=torch.float64) / torch.tensor(thresholds)
    late = float(ratios[-max(1, len(ratios) // 3) :].median())
    return {
        "sharpness_start": number(values[0]),
        "sharpness_end": number(values[-1]),
        "sharpness_ratio": number(late),
        "threshold": number(thresholds[-1], "no_threshold"),
        "sharpening": number(edge.sharpening),
        "hover": number(edge.hover, missing),
        "reached": number(torch.nan if edge.reached is None else edge.reached, missing),
        "uneven": number(edge.uneven, missing),
        "edge": word(edge.verdict),
        "edge_why": word(edge.why),
        "phase_at_start": word(_at_start(losses, values, thresholds)),
        "final_loss": number(losses[-1]),
        "peak_loss": number(max(losses) / losses[0] if losses[0] > 0 else float("nan")),
        **along("sharpness", zip(steps, values, strict=True)),
        **along("threshold", zip(steps, thresholds, strict=True)),
        **along("loss", ((s, losses[min(s, len(losses) - 1)]) for s in steps)),
    }


def _limit(hessian: Hessian, task: Task, step: int) -> tuple[float, float]:
    """Return threshold and penalty where plain sharpness is what counts, else NaN."""
    rule = hessian.step.optimizer
    if rule is None:
        return torch.nan, 0.0
    found = of_rule(rule, task.factor(step), step)
    return (found.value, found.penalty) if found.of == "sharpness" else (torch.nan, 0.0)


def _at_start(losses: list[float], values: list[float], thresholds: list[float]) -> str:
    if not (isfinite(thresholds[0]) and values[0] > 0):
        return "undetermined"
    return catapult(losses, values, 1.0, threshold=thresholds[0]).verdict


def exponent(result: Result) -> Measured:
    """Largest Lyapunov exponent of the training map and its standard error, 1/step.

    By tangent dynamics with the optimizer's state, after ``EXPONENT_WARMUP`` updates; exactly
    neutral directions are taken out. Undefined where the training diverges.
    """
    from wingbeat.lyapunov.training.exponents import training_spectrum

    task = task_of(result)
    warmup = min(EXPONENT_WARMUP, max(0, task.steps // 4))
    found = training_spectrum(task, 1, warmup=warmup, deflate=True, check=False)
    value, error = found.maximum, float(found.errors[0])
    if any(at >= 0 for at in found.diverged_at):
        return {"lambda_max": number(torch.nan), "lambda_max_error": number(torch.nan)}
    block = float(found.parameter_exponents[0])
    return {
        "lambda_max": number(value, "too_few_points"),
        "lambda_max_error": number(error, "too_few_points"),
        "lambda_parameters": number(block, "too_few_points"),
    }


def noise(result: Result) -> Measured:
    """λ_K, Tr K, conditioning of K and λ_H of the reference along training.

    K is the covariance of the gradients of ``NOISE_GRADIENTS`` single samples (or as many as
    there are), in eval mode; λ_H is of the loss on the same samples. Names: ``lambda_k/<step>``
    and so on, and the largest λ_K and λ_H, the last trace and the median conditioning over
    training as ``lambda_k_most``, ``lambda_h_most``, ``trace_k_end``, ``conditioning``.
    """
    from wingbeat.task.data import len_of

    task = task_of(result)
    count = min(NOISE_GRADIENTS, len_of(task.data))
    hessian = Hessian(task, samples=count, mode="eval")
    steps, rows = list(result.steps), []
    for snapshot in result.trajectory:
        params, buffers = hessian.point(snapshot)
        rows.append(look_at_noise(hessian, (params[:1], {k: b[:1] for k, b in buffers.items()})))
    names = ("lambda_k", "trace_k", "conditioning", "lambda_h")
    found: Measured = {}
    for name in names:
        found |= along(name, ((s, getattr(r, name)) for s, r in zip(steps, rows, strict=True)))
    tensor = torch.tensor([[getattr(r, name) for name in names] for r in rows])
    return {
        "lambda_k_most": number(float(tensor[:, 0].max())),
        "trace_k_end": number(float(tensor[-1, 1])),
        "conditioning": number(float(tensor[:, 2].median())),
        "lambda_h_most": number(float(tensor[:, 3].max())),
        "final_loss": number(float(result.trajectory.losses[-1, 0])),
        **found,
    }


def phase(result: Result) -> Measured:
    """Relative change of the input weights of a two-layer net, and how they condense."""
    first, last = (result.trajectory.at(result.steps[place]) for place in (0, -1))
    w0, w, a = first.params["w"][0], last.params["w"][0], last.params["a"][0]
    start = condensation(w0, first.params["a"][0])
    end = condensation(w, a)
    return {
        "relative_change": number(relative_change(w0, w)),
        "directions_start": number(start.directions),
        "directions": number(end.directions),
        "alignment_start": number(start.alignment),
        "alignment": number(end.alignment),
        "final_loss": number(float(result.trajectory.losses[-1, 0])),
    }
