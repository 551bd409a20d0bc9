"""From moments and outputs to the rows of the table, one function a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.errors import (
    BELOW_NOISE_FLOOR,
    CONSTANT,
    DIVERGED,
    NO_PREDICTIONS,
    TOO_FEW_REPLICAS,
)
from wingbeat.measure.functions import FUNCTIONAL, GAINS, PAIRWISE
from wingbeat.measure.table import TableBuilder, words
from wingbeat.measure.weights import with_whole
from wingbeat.metrics import local, spread_from_gram, trajectory_pca
from wingbeat.metrics.projection import ProjectedSpread
from wingbeat.replicas.fork import NULL, REFERENCE
from wingbeat.trajectory.trajectory import perturbed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wingbeat.measure.outputs import Outputs
    from wingbeat.measure.weights import Weights

    Array = NDArray[np.float64]
    Spreads = dict[str, tuple[NDArray[np.intp], Array]]


def owners(labels: Sequence[str]) -> NDArray[np.object_]:
    """Return for each replica the perturbation it belongs to ("" and "null" for the twins)."""
    return words([{REFERENCE: "", NULL: NULL}.get(x, x.rsplit("#", 1)[0]) for x in labels])


def distances(out: TableBuilder, w: Weights, wanted: Sequence[str], floor: float) -> None:
    """Add l2, relative_l2 and cosine of every replica to the reference, whole and by layer."""
    apart2, norm2 = with_whole(w.apart2)[..., 1:], with_whole(w.norm2)[..., None]
    forked = np.broadcast_to(w.present[:, None, 1:], apart2.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        l2 = np.sqrt(apart2)
        inner = with_whole(w.cross)[..., 1:] + norm2
        own2 = norm2 + 2 * with_whole(w.cross)[..., 1:] + apart2
        values = {
            "l2": l2,
            "relative_l2": l2 / np.sqrt(norm2),
            "cosine": inner / np.sqrt(norm2 * own2),
        }
    below = np.zeros(l2.shape, dtype=bool) if floor == 0 else l2 <= floor
    names = words(w.labels[1:])
    shared = {
        "step": np.broadcast_to(w.steps[:, None, None], l2.shape)[forked],
        "perturbation": np.broadcast_to(owners(w.labels)[1:], l2.shape)[forked],
        "b": np.broadcast_to(names, l2.shape)[forked],
        "layer": np.broadcast_to(words(("", *w.layers))[:, None], l2.shape)[forked],
    }
    for metric in (m for m in values if m in wanted):
        value = np.where(np.isfinite(values[metric]), values[metric], np.nan)
        zero = np.isnan(value) & np.isfinite(l2)
        reason = np.where(below, BELOW_NOISE_FLOOR, np.where(zero, "constant", ""))
        reason = np.where(np.isfinite(l2), reason, DIVERGED)
        clipped = np.clip(value, -1, 1) if metric == "cosine" else value
        out.add(
            metric, clipped[forked], a=REFERENCE, reason=reason[forked].astype(object), **shared
        )


def spreads(w: Weights) -> Spreads:
    """Return for each perturbation the places of its steps and its spread (T', 1 + L)."""
    found = {}
    for name, grams in w.groups.items():
        places = w.since(name)
        found[name] = (places, spread_from_gram(with_whole(grams)[places]))
    return found


def spread_rows(out: TableBuilder, w: Weights, found: Spreads) -> None:
    """Add the spread of every perturbation, whole and by layer."""
    for name, (places, values) in found.items():
        finite = np.isfinite(values)
        below = (values <= w.noise_floor) & (w.noise_floor > 0)
        out.add(
            "spread",
            np.where(finite, values, np.nan),
            step=w.steps[places][:, None],
            perturbation=name,
            layer=words(("", *w.layers)),
            reason=np.where(finite, np.where(below, BELOW_NOISE_FLOOR, ""), _lost(w, name)),
        )


def _lost(w: Weights, name: str) -> str:
    """Return why a perturbation has no spread."""
    return DIVERGED if w.groups[name].shape[-1] > 1 else TOO_FEW_REPLICAS


def local_rows(out: TableBuilder, w: Weights, found: Spreads) -> None:
    """Add the growth rate of the spread between neighbouring snapshots."""
    for name, (places, values) in found.items():
        if len(places) < 2:
            continue
        whole, steps = values[:, 0], w.steps[places]
        growth = local(steps, np.where(whole <= w.noise_floor, 0.0, whole))
        why = np.where(np.isfinite(whole[1:]), BELOW_NOISE_FLOOR, _lost(w, name))
        out.add(
            "local_lyapunov",
            growth,
            step=steps[1:],
            perturbation=name,
            reason=np.where(np.isfinite(growth), "", why),
        )


def projected_rows(
    out: TableBuilder, w: Weights, name: str, steps: NDArray[np.int64], projected: ProjectedSpread
) -> None:
    """Add the spread in the leading components and the share of variance it keeps."""
    pairs = {"spread_projected": projected.spread, "projected_variance_kept": projected.kept}
    for metric, values in pairs.items():
        finite = np.isfinite(values)
        lost = bool(np.isnan(projected.spread).any())
        reason = np.where(finite, "", _lost(w, name) if lost else "constant")
        out.add(
            metric, np.where(finite, values, np.nan), step=steps, perturbation=name, reason=reason
        )


def pca_rows(out: TableBuilder, g: Array, points: list[tuple[int, str]]) -> None:
    """Add every point's scores in the leading components, and the variance they explain."""
    if len(points) < 2 or not np.isfinite(g).all():
        return
    pca = trajectory_pca(g, min(10, len(points) - 1), precomputed=True)
    steps, labels = np.array([s for s, _ in points]), [label for _, label in points]
    for component in range(min(3, pca.scores.shape[1])):
        scores = pca.scores[:, component]
        out.add(
            f"pc{component + 1}", scores, step=steps, perturbation=owners(labels), b=words(labels)
        )
    out.add("pca_explained", pca.explained, step=np.arange(1, len(pca.explained) + 1))


def path_rows(out: TableBuilder, w: Weights, wanted: Sequence[str]) -> None:
    """Add the length of each replica's path and its mean speed, from its fork to the end."""
    length = np.nansum(w.moved, axis=0)
    begun = np.isfinite(w.moved)
    duration = np.array([np.diff(w.steps)[own].sum() for own in begun.T], dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        speed = length / duration
    broken = w.lost.any(axis=0)
    for metric, values in (("path_length", length), ("velocity", speed)):
        if metric in wanted:
            reason = np.where(broken, DIVERGED, np.where(duration > 0, "", "too_few_points"))
            value = np.where(reason == "", values, np.nan)
            out.add(
                metric,
                value,
                step=w.steps[-1],
                perturbation=owners(w.labels),
                b=words(w.labels),
                reason=reason,
            )


def loss_rows(
    out: TableBuilder, labels: Sequence[str], steps: NDArray[np.int64], means: Array
) -> None:
    """Add the training loss of every replica, averaged since the step recorded before.

    ``means`` is (T − 1, E); minus infinity marks a replica that had not forked.
    """
    there, finite = ~np.isneginf(means), np.isfinite(means)
    out.add(
        "train_loss",
        np.where(finite, means, np.nan)[there],
        step=np.broadcast_to(steps[:, None], means.shape)[there],
        perturbation=np.broadcast_to(owners(labels), means.shape)[there],
        b=np.broadcast_to(words(labels), means.shape)[there],
        reason=np.where(finite, "", DIVERGED)[there],
    )


def output_rows(
    out: TableBuilder, step: int, labels: Sequence[str], outputs: Outputs, wanted: Sequence[str]
) -> None:
    """Add evaluation metrics and disagreement with the reference at one step."""
    shared: dict[str, Any] = {"step": step, "perturbation": owners(labels), "b": words(labels)}
    for metric in wanted:
        if metric in FUNCTIONAL:
            function_rows(out, step, labels, outputs, metric)
            continue
        values = outputs.disagreement() if metric == "disagreement" else outputs.scalars.get(metric)
        given = values is not None
        if values is None:
            values = np.full(len(labels), np.nan)
        finite = np.isfinite(values)
        reason = np.where(finite, "", DIVERGED if given else NO_PREDICTIONS)
        origin = {"a": REFERENCE} if metric == "disagreement" else {}
        out.add(metric, np.where(finite, values, np.nan), reason=reason, **shared, **origin)


def function_rows(
    out: TableBuilder, step: int, labels: Sequence[str], outputs: Outputs, metric: str
) -> None:
    """Add how predictions differ from the reference's, or what the replicas' ensembles gain."""
    found = outputs.functions
    if metric in PAIRWISE:
        _against_reference(out, metric, step, labels, outputs, found.pairs.get(metric))
        return
    _against_reference(out, "ensemble_diversity", step, labels, outputs, found.diversity)
    for name in perturbed(tuple(labels)):
        gains = found.gains.get(name, {})
        for row in GAINS:
            value = gains.get(row, np.nan)
            reason = "" if np.isfinite(value) else found.reasons.get(name, NO_PREDICTIONS)
            out.add(row, value, step=step, perturbation=name, reason=reason)


def _against_reference(
    out: TableBuilder,
    metric: str,
    step: int,
    labels: Sequence[str],
    outputs: Outputs,
    values: Array | None,
) -> None:
    known = np.full(len(labels), np.nan) if values is None else values
    finite = np.isfinite(known)
    why = np.full(len(labels), NO_PREDICTIONS, dtype=object)
    if values is not None and outputs.predictions is not None:
        bad = np.asarray((outputs.predictions < 0).any(axis=1))
        # What is finite may have no ratio: logits that do not vary, a model without errors.
        why = np.where(bad | bad[0], DIVERGED, CONSTANT).astype(object)
    out.add(
        metric,
        np.where(finite, known, np.nan)[1:],
        step=step,
        perturbation=owners(labels)[1:],
        a=REFERENCE,
        b=words(labels[1:]),
        reason=np.where(finite, "", why)[1:],
    )
