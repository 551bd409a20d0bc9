"""The figures of alignment: distance and barrier as they are and after permuting units."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pandas as pd

from wingbeat.report.figures.families import (
    STEP_LABEL,
    drawn_names,
    family_note,
    joined,
    line_of,
    over_alpha,
    sentence,
    span,
)
from wingbeat.report.figures.records import MOST_POINTS, Figure, Line, LineFigure
from wingbeat.report.prose import floor_text, interval, number
from wingbeat.report.result_access import ResultLike, entry, median_curve, rows, undefined_note

_MEANING: Final = (
    "Aligned: the replica's units are permuted onto the reference's by weight matching, which "
    "leaves what it computes as it is."
)
_BOTH: Final = (("as they are", "solid"), ("aligned", "dot"))


def alignment_figures(result: ResultLike) -> tuple[Figure, ...]:
    """Return the figures of alignment that a result has data for."""
    found = (aligned_distance(result), aligned_curves(result))
    return tuple(f for f in found if f is not None)


def aligned_distance(result: ResultLike) -> LineFigure | None:
    """L2 distance to the reference over training, aligned and not; None without data."""
    lines, frames = [], []
    for style, name in enumerate(drawn_names(result)):
        for metric, (words, dash) in zip(("l2", "l2_aligned"), _BOTH, strict=True):
            frame = rows(result, metric, perturbation=name)
            if len(frame):
                lines.append(_line(f"{name}, {words}", style, dash, frame, positive=True))
                frames.append(frame[frame["metric"] == "l2_aligned"])
    if not any(len(frame) for frame in frames):
        return None
    return LineFigure(
        key="l2_aligned",
        title=_told(result, "l2_aligned", "How much of the distance does alignment take away?"),
        caption=joined(
            "L2 distance of all trainable weights to the reference.",
            _MEANING,
            _stayed(result),
            sentence(lines, result),
            f"{floor_text(result.noise_floor).capitalize()}.",
            undefined_note(pd.concat(frames)),
            family_note(result),
        ),
        x_label=STEP_LABEL,
        y_label="L2 distance (weight units)",
        lines=tuple(lines),
        log_y=True,
    )


def aligned_curves(result: ResultLike) -> LineFigure | None:
    """Loss between reference and replicas, aligned and not, at the last step; None without data."""
    lines = []
    table = result.table
    for style, name in enumerate(drawn_names(result)):
        own = table[table["perturbation"] == name]
        for metric, (words, dash) in zip(
            ("line_loss_train", "line_aligned_loss_train"), _BOTH, strict=True
        ):
            frame = own[own["metric"] == metric]
            if len(frame):
                lines.append(_line(f"{name}, {words}", style, dash, over_alpha(frame)))
    if not (table["metric"] == "line_aligned_loss_train").any():
        return None
    return LineFigure(
        key="barrier_aligned",
        title=_told(result, "barrier_aligned_train", "Does alignment remove the barrier?"),
        caption=joined(
            "Training loss on the straight line from the reference (α = 0) to the replicas "
            "(α = 1) at the last step.",
            _MEANING,
            sentence(lines, result),
            undefined_note(table[table["metric"] == "line_aligned_loss_train"]),
            family_note(result),
        ),
        x_label="α",
        y_label="training loss (units of the loss)",
        lines=tuple(lines),
    )


def _line(name: str, style: int, dash: str, frame: pd.DataFrame, *, positive: bool = False) -> Line:
    curve = median_curve(frame, positive=positive)
    drawn = line_of(name, style, curve, MOST_POINTS, marked=len(curve.steps) <= 12)
    return replace(drawn, dash=dash)


def _told(result: ResultLike, metric: str, question: str) -> str:
    """Return the finding on the first perturbation, from the summary, or a question without one."""
    name = next(iter(drawn_names(result)), "")
    raw = entry(result, f"final_{metric.replace('_aligned', '')}", name)
    found = entry(result, f"final_{metric}", name)
    if not (raw.defined and found.defined):
        return question
    what = "distance" if metric.startswith("l2") else "training-loss barrier"
    ends = f" ({interval(found)})" if found.has_interval else ""
    return f"{name}: {what} {number(raw.value)}, aligned {number(found.value)}{ends}"


def _stayed(result: ResultLike) -> str:
    """Return how many units stay in place at the end, "" where that is unknown."""
    shares = [entry(result, "final_fixed_point_share", name) for name in drawn_names(result)]
    known = span(100 * share.value for share in shares)
    return f"At the end {known} % of the units stay in place." if known else ""
