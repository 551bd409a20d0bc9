"""The figures of barriers: growth over training, curves between models, a tree of basins."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from wingbeat.metrics.basins import ERROR_THRESHOLD, basins, dendrogram
from wingbeat.report.figures.families import (
    STEP_LABEL,
    family_note,
    joined,
    one_each,
    over_alpha,
    sentence,
    span,
)
from wingbeat.report.figures.records import MOST_NAMES, Figure, Guide, Line, LineFigure
from wingbeat.report.result_access import (
    NULL,
    REFERENCE,
    ResultLike,
    base_seeds,
    rows,
    undefined_note,
)

_MEANING: Final = (
    "The barrier is how far the loss on the straight line between a replica's weights and the "
    "reference's rises above the line between the two losses; 0 = no barrier."
)


def barrier_figures(result: ResultLike) -> tuple[Figure, ...]:
    """Return the figures of barriers that a result has data for."""
    found = (growth(result), curves_between(result), basin_tree(result))
    return tuple(f for f in found if f is not None)


def growth(result: ResultLike, metric: str = "barrier_train") -> LineFigure | None:
    """Barrier to the reference over training, a line per perturbation; None without data."""
    lines, frame = one_each(
        result, lambda name: _to_reference(rows(result, metric, perturbation=name)), marked_to=30
    )
    if not lines:
        return None
    ends = span(line.y[-1] for line in lines)
    title = "How high is the barrier to the reference?"
    if ends:
        title = f"Training-loss barrier to the reference at the end: {ends}"
    return LineFigure(
        key="barrier",
        title=title,
        caption=joined(
            _MEANING,
            sentence(lines, result),
            undefined_note(frame),
            family_note(result),
        ),
        x_label=STEP_LABEL,
        y_label="barrier (units of the loss)",
        lines=lines,
    )


def curves_between(result: ResultLike, quantity: str = "loss_train") -> LineFigure | None:
    """Loss on the way from the reference to the replicas at the last step; None without data."""
    table = over_alpha(result.table[result.table["metric"] == f"line_{quantity}"])
    lines, _ = one_each(result, lambda name: table[table["perturbation"] == name])
    if not lines:
        return None
    return LineFigure(
        key="barrier_curve",
        title="Training loss between the reference (α = 0) and the replicas (α = 1)",
        caption=joined(
            "At the last step, on the straight line between the weights; running statistics of "
            "batch normalisation are estimated anew at every point.",
            sentence(lines, result),
            undefined_note(table),
            family_note(result),
        ),
        x_label="α",
        y_label="training loss (units of the loss)",
        lines=lines,
    )


def basin_tree(result: ResultLike) -> LineFigure | None:
    """Dendrogram of reference and replicas by their barriers; None without two of them.

    By error barriers where there are classes, else by loss barriers; of the first base seed.
    """
    for metric in ("barrier_error_train", "barrier_train"):
        labels, matrix = _matrix(result, metric)
        if len(labels) > 1 and np.isfinite(matrix).all():
            break
    else:
        return None
    drawn = dendrogram(basins(matrix), labels)
    merges = zip(drawn.x.tolist(), drawn.height.tolist(), strict=True)
    lines = tuple(
        Line(name="merge", group="two clusters become one", style=0, x=tuple(x), y=tuple(y))
        for x, y in merges
    )
    error = metric == "barrier_error_train"
    guides = (Guide("limit of a basin: 2 points of error", ERROR_THRESHOLD),) if error else ()
    return LineFigure(
        key="basin_tree",
        title="Which replicas lie in the same basin?",
        caption=joined(
            f"Complete linkage of the {'error' if error else 'loss'} barriers on training data at "
            "the last step: two clusters join at their highest barrier.",
            f"From left to right: {', '.join(drawn.leaves)}."
            if len(drawn.leaves) > MOST_NAMES
            else "",
        ),
        x_label="replica" + ", by its place in the list below" * (len(drawn.leaves) > MOST_NAMES),
        y_label="barrier (share of errors)" if error else "barrier (units of the loss)",
        lines=lines,
        guides=guides,
        names=drawn.leaves,
    )


def _to_reference(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["a"] == REFERENCE]


def _matrix(result: ResultLike, metric: str) -> tuple[list[str], np.ndarray]:
    """Return the labels of the last step and the barriers between them, NaN where unknown."""
    table = result.table[(result.table["metric"] == metric) & (result.table["b"] != NULL)]
    seeds = base_seeds(result)
    if "seed" in table.columns and len(seeds):
        table = table[table["seed"] == seeds[0]]
    if not len(table):
        return [], np.zeros((0, 0))
    table = table[table["step"] == table["step"].max()]
    broken = set(_to_reference(table)[_to_reference(table)["value"].isna()]["b"])
    labels = [x for x in dict.fromkeys([*table["a"], *table["b"]]) if x not in broken]
    place = {label: i for i, label in enumerate(labels)}
    matrix = np.full((len(labels), len(labels)), np.nan)
    np.fill_diagonal(matrix, 0.0)
    for a, b, value in zip(table["a"], table["b"], table["value"], strict=True):
        if a in place and b in place:
            matrix[place[a], place[b]] = matrix[place[b], place[a]] = value
    return labels, matrix
