"""The metrics that a run can be asked for: unit, range, direction and source of each."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, Literal

from wingbeat.errors import RequestError, nearest
from wingbeat.metrics.divergence import LN2

if TYPE_CHECKING:
    from collections.abc import Iterable

Needs = Literal["weights", "losses", "outputs", "models"]


@dataclass(frozen=True)
class Metric:
    """What a metric name stands for.

    Attributes:
        name: as in ``wb.run(metrics=…)`` and in the table.
        needs: what it is computed from; "outputs" costs a pass over the evaluation data at every
            snapshot, "models" evaluates models anew, at a cost that the metric states itself.
        unit: of the value.
        range: smallest and largest value.
        direction: how to read it.
        rows: the names under which its rows appear in the table.
    """

    name: str
    needs: Needs
    unit: str
    range: tuple[float, float]
    direction: str
    rows: tuple[str, ...]


INF = float("inf")
BARRIERS = ("barrier_train", "barrier_error_train", "barrier_test", "barrier_error_test")
CATALOGUE = {
    m.name: m
    for m in (
        Metric("l2", "weights", "weight", (0, INF), "0 = identical", ("l2",)),
        Metric(
            "relative_l2", "weights", "share of |w|", (0, INF), "0 = identical", ("relative_l2",)
        ),
        Metric("cosine", "weights", "1", (-1, 1), "1 = same direction", ("cosine",)),
        Metric("spread", "weights", "weight", (0, INF), "0 = identical", ("spread",)),
        Metric(
            "spread_projected",
            "weights",
            "weight",
            (0, INF),
            "0 = identical in the leading components",
            ("spread_projected", "projected_variance_kept"),
        ),
        Metric(
            "local_lyapunov", "weights", "1/step", (-INF, INF), "> 0 = parting", ("local_lyapunov",)
        ),
        Metric(
            "pca", "weights", "weight", (-INF, INF), "a map", ("pc1", "pc2", "pc3", "pca_explained")
        ),
        Metric("path_length", "weights", "weight", (0, INF), "0 = never moved", ("path_length",)),
        Metric("velocity", "weights", "weight/step", (0, INF), "0 = at rest", ("velocity",)),
        Metric("train_loss", "losses", "loss", (-INF, INF), "lower fits better", ("train_loss",)),
        Metric("eval_loss", "outputs", "loss", (-INF, INF), "lower fits better", ("eval_loss",)),
        Metric("accuracy", "outputs", "share", (0, 1), "1 = all right", ("accuracy",)),
        Metric(
            "disagreement", "outputs", "share", (0, 1), "0 = same predictions", ("disagreement",)
        ),
        Metric("kl", "outputs", "nat", (0, INF), "0 = same probabilities", ("kl",)),
        Metric("js", "outputs", "nat", (0, LN2), "0 = same probabilities", ("js",)),
        Metric(
            "logit_correlation",
            "outputs",
            "1",
            (-1, 1),
            "1 = same logits up to a factor",
            ("logit_correlation",),
        ),
        Metric(
            "ensemble",
            "outputs",
            "nat, share",
            (-INF, INF),
            "> 0 = better than its members",
            (
                "ensemble_loss_gain",
                "ensemble_accuracy_gain",
                "ensemble_logit_loss_gain",
                "ensemble_logit_accuracy_gain",
                "ensemble_diversity",
            ),
        ),
        Metric(
            "barrier",
            "models",
            "loss, share",
            (0, INF),
            "0 = one basin",
            (
                *(f"{b}{end}" for b in BARRIERS for end in ("", "_low", "_high")),
                *(f"line_{q}_{d}" for d in ("train", "test") for q in ("loss", "error")),
                "basin",
            ),
        ),
        Metric(
            "l2_aligned",
            "models",
            "weight",
            (0, INF),
            "0 = identical up to permutation",
            ("l2_aligned", "fixed_point_share"),
        ),
        Metric(
            "barrier_aligned",
            "models",
            "loss, share",
            (0, INF),
            "0 = one basin up to permutation",
            (
                *(b.replace("barrier", "barrier_aligned") for b in BARRIERS),
                "line_aligned_loss_train",
            ),
        ),
        Metric(
            "soup",
            "models",
            "loss, share",
            (-INF, INF),
            "> 0 = the average of the weights is better than the replicas",
            tuple(
                f"soup_gain_{q}_{d}{end}"
                for d in ("train", "test")
                for q in ("loss", "error")
                for end in ("", "_aligned")
            ),
        ),
        Metric("fisher_kl", "models", "nat", (0, INF), "0 = identical", ("fisher_kl",)),
        Metric(
            "sharpness", "models", "loss/weight²", (-INF, INF), "large = narrow", ("sharpness",)
        ),
        Metric(
            "cka", "models", "1, rad", (-1, pi), "cka 1, angle 0 = same", ("cka", "angular_cka")
        ),
    )
}
"""All metrics by name, in the order of the table."""

DEFAULT = tuple(name for name, m in CATALOGUE.items() if m.needs in ("weights", "losses"))
"""What is measured when nothing is asked for: all that evaluates no model."""


def check_names(names: Iterable[str], own: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names if all are known; ``own`` are the task's evaluation metrics.

    Raises:
        RequestError: one is unknown; the message suggests the nearest.

    Example:
        >>> check_names(["l2", "spread"])
        ('l2', 'spread')
    """
    names, known = tuple(names), {*CATALOGUE, *own}
    for name in names:
        if name not in known:
            msg = f"unknown metric {name!r}: {nearest(str(name), known)}"
            raise RequestError(msg)
    return names
