"""What the study of irrelevant dimensions measures: every direction followed, and the Hessian.

All P directions of weight space are pushed through the last `WINDOW` updates by the derivative of
the training step, optimizer and its state included, so that what becomes of any nudge is known
to first order; and the whole Hessian of the training loss is taken where they end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from wingbeat.curvature.hvp import Hessian
from wingbeat.determinism import deterministic_algorithms, seeded
from wingbeat.lyapunov.training.neutral import NeutralWatch
from wingbeat.lyapunov.training.tangent import TangentStep
from wingbeat.studies.curvature import Measured, along, number, task_of
from wingbeat.studies.irrelevant_dimensions.plan import WINDOW

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.execution.result import Result
    from wingbeat.task.task import Task

TWOFOLD: Final = 2.0
"""Growth over the window below which a direction counts as one that does not grow."""
NUDGE: Final = 0.01
"""Size of a nudge, as a share of the norm of all weights, whose effect on the loss is asked for."""
STILL: Final = 1e-3
"""Change of the loss, in nats, below which it does not move: a hundredth of that of such a net."""
STRICT: Final = 10.0
"""How many times stricter the bound on the loss is for the second count, against its choice."""
SAMPLES: Final = 200
"""Training images on which the Hessian is taken."""
CHUNK: Final = 48
"""Directions at a time: more of them need memory, and take longer."""
PERCENT: Final = tuple(range(0, 101, 5))
"""Percentiles of growth that are stored, for the figure."""


@dataclass(frozen=True)
class Followed:
    """Every direction of a run, followed over its last updates.

    Attributes:
        images: ``(P, P)``, row i what has become of a nudge of weight i, in weights.
        weights: ``(P,)`` at the end.
        exact: directions that are exactly neutral by a symmetry, weights without influence
            included.
        idle: those of them that are weights without influence.
    """

    images: Tensor
    weights: Tensor
    exact: int
    idle: int


def directions(result: Result) -> Measured:
    """Return how many directions grow, move the loss, do neither; and how many carry the growth.

    Names: ``weights``, ``exact``, ``idle``, ``growing``, ``moving``, ``irrelevant``,
    ``irrelevant_strict``, ``growth_dimension``, ``loss_dimension`` (participation ratios),
    ``top_growth``, ``test_accuracy`` and ``log_growth/<percent>``.
    """
    task = task_of(result)
    with seeded(0), deterministic_algorithms():
        found = follow(task)
    curved = absolute(curvature(task, found.weights))
    rows = result.table[(result.table["metric"] == "accuracy") & (result.table["b"] == "reference")]
    growth = torch.linalg.svdvals(found.images)
    points = torch.quantile(growth.log(), torch.tensor(PERCENT, dtype=growth.dtype) / 100)
    return {
        "weights": number(float(len(found.weights))),
        "exact": number(float(found.exact)),
        "idle": number(float(found.idle)),
        **{k: number(v) for k, v in counts(found.images, curved, found.weights).items()},
        "growth_dimension": number(participation(growth**2)),
        "loss_dimension": number(participation(torch.linalg.eigvalsh(curved))),
        "top_growth": number(float(growth[0])),
        "test_accuracy": number(float(rows.sort_values("step")["value"].iloc[-1])),
        **along("log_growth", zip(PERCENT, points.tolist(), strict=True)),
    }


def counts(images: Tensor, curved: Tensor, weights: Tensor) -> dict[str, float]:
    """Return how many directions grow twofold, move the loss, and do neither.

    ``irrelevant`` is the dimension of a subspace all of whose directions grow less than twofold
    and, nudged by a hundredth of the weights' norm, change the loss by less than `STILL` to second
    order: of the sum of both quadratic forms, each over its bound, the eigenvalues up to 1. The
    sum makes it a lower bound: a direction may do a little of both. ``irrelevant_strict`` asks for
    a loss that changes by a tenth of that at most.

    Args:
        images: ``(P, P)``, row i the image of unit vector i.
        curved: ``(P, P)``, the absolute value of the Hessian.
        weights: ``(P,)``.

    Example:
        >>> images = torch.diag(torch.tensor([3.0, 1.0, 1.0]))  # one grows
        >>> curved = torch.diag(torch.tensor([0.0, 500.0, 0.0]))  # one moves the loss
        >>> counts(images, curved, torch.ones(3))
        {'growing': 1.0, 'moving': 1.0, 'irrelevant': 1.0, 'irrelevant_strict': 1.0}
    """
    grown = images @ images.T / TWOFOLD**2
    nudge = NUDGE * weights.norm()
    moved = 0.5 * nudge**2 * images @ curved @ images.T / STILL

    def above(form: Tensor) -> float:
        return float((torch.linalg.eigvalsh(form) > 1.0).sum())

    moved = (moved + moved.T) / 2
    return {
        "growing": above(grown),
        "moving": above(moved),
        "irrelevant": len(weights) - above(grown + moved),
        "irrelevant_strict": len(weights) - above(grown + STRICT * moved),
    }


def participation(values: Tensor) -> float:
    """Return the number of directions that carry a sum of non-negative values.

    >>> participation(torch.tensor([1.0, 1.0, 0.0]))
    2.0
    """
    return float(values.sum() ** 2 / (values**2).sum())


def follow(task: Task) -> Followed:
    """Train a task and push every direction of weight space through its last updates."""
    own = TangentStep(task)
    state, start = own.start(), max(1, task.steps - WINDOW)
    for index in range(start):
        state, _ = own.plain(state, index)
    families = [f for f in NeutralWatch(own, state, start).found() if f.exact]
    size = own.coordinates.layout.size
    unit = torch.eye(size, own.coordinates.size, dtype=own.step.dtype)
    tangents = unit * own.scales(state)
    for index in range(start, task.steps):
        parts = [own(state, chunk, index) for chunk in in_chunks(tangents)]
        state, tangents = parts[0][0], torch.cat([part[1] for part in parts])
    images = (tangents / own.scales(state))[:, :size]
    idle = sum(f.count for f in families if f.kind == "idle")
    return Followed(images, state.params, sum(f.count for f in families), idle)


def in_chunks(rows: Tensor) -> tuple[Tensor, ...]:
    """Return rows, `CHUNK` at a time."""
    return torch.split(rows, CHUNK)


def curvature(task: Task, weights: Tensor) -> Tensor:
    """Return the Hessian of the training loss at weights, over evenly spaced images."""
    from wingbeat.curvature.along import even_samples

    chosen = even_samples(task)[:: max(1, len(even_samples(task)) // SAMPLES)]
    operator = Hessian(task, samples=chosen).at(weights)
    unit = torch.eye(len(weights), dtype=weights.dtype)
    rows = torch.cat([operator(chunk.unsqueeze(0))[0] for chunk in in_chunks(unit)])
    return (rows + rows.T) / 2


def absolute(form: Tensor) -> Tensor:
    """Return a symmetric matrix with its eigenvalues made positive.

    >>> absolute(torch.diag(torch.tensor([-2.0, 1.0]))).diagonal().tolist()
    [2.0, 1.0]
    """
    values, vectors = torch.linalg.eigh(form)
    positive: Tensor = vectors @ torch.diag(values.abs()) @ vectors.T
    return positive
