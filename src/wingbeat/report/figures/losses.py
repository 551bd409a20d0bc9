"""The figures with one value per replica: losses, accuracy and disagreement over training."""

from __future__ import annotations

import math

import pandas as pd

from wingbeat.measure.metric import Curve, Metric
from wingbeat.measure.row_declarations import drawn_curve
from wingbeat.report.figures.families import (
    STEP_LABEL,
    drawn_names,
    family_note,
    joined,
    line_of,
    replica_note,
    style_of,
    thinning_note,
)
from wingbeat.report.figures.records import (
    FEWEST_POINTS,
    MOST_POINTS,
    MOST_REPLICAS,
    Line,
    LineFigure,
)
from wingbeat.report.prose import number
from wingbeat.report.result_access import (
    NULL,
    NULL_TEXT,
    REFERENCE,
    ResultLike,
    base_seeds,
    labels_in,
    median_curve,
    owner,
    rows,
    undefined_note,
)


def replica_metrics(result: ResultLike) -> tuple[str, ...]:
    """Return what `losses` can draw: the declared metrics first, then the task's own ones."""
    whole = result.table[(result.table["layer"] == "") & (result.table["b"] != "")]
    found = {str(m): _declared(result, str(m)) for m in whole["metric"].unique()}
    drawn = {row: metric.order for row, (metric, _) in found.items() if metric is not None}
    return tuple(sorted(drawn, key=lambda row: drawn[row]))


def losses(result: ResultLike, metric: str = "train_loss") -> LineFigure | None:
    """One value per replica over training: a loss, the accuracy or the disagreement.

    Args:
        result: what to read.
        metric: one of `replica_metrics`.

    Returns:
        Each replica as a line; perturbations with many replicas as median and range.
    """
    declared, curve = _declared(result, metric)
    frame = rows(result, metric)
    hidden = "" if declared is None or curve.reference else REFERENCE
    frame = frame[~frame["b"].isin(["", hidden])]
    if declared is None or not len(frame):
        return None
    name = curve.label or declared.label
    lines, notes = _replica_lines(result, frame)
    copies = [line for line in lines if line.style >= 0] or list(lines)
    kind = "median " if any(line.low is not None for line in copies) else ""
    ends = [line.y[-1] for line in copies if line.y and math.isfinite(line.y[-1])]
    title = f"How does the {name} of the copies develop?"
    if ends:
        last = max(line.x[-1] for line in lines)
        title = f"{name[:1].upper()}{name[1:]} at step {last:,.0f}: {_span(ends, kind)}"
    return LineFigure(
        key=metric,
        title=title,
        caption=joined(f"{curve.caption or declared.caption}; {replica_note(result)}.", notes),
        x_label=STEP_LABEL,
        y_label=curve.axis or f"{name} ({declared.unit})",
        lines=lines,
        log_y=curve.log and _wide(lines),
    )


def _declared(result: ResultLike, row: str) -> tuple[Metric | None, Curve]:
    """Return whose rows these are and how they are drawn; None where they have no such figure."""
    own = result.condition.get("evaluation") or ()
    return drawn_curve(row, own) or (None, Curve())


def _wide(lines: tuple[Line, ...]) -> bool:
    """Return whether all values are above 0 and cross more than one decade."""
    found = [y for line in lines for y in line.y if math.isfinite(y)]
    return bool(found) and min(found) > 0 and max(found) > 10 * min(found)


def _span(values: list[float], kind: str) -> str:
    low, high = number(min(values)), number(max(values))
    return f"{kind}{low}" if low == high else f"{kind}from {low} to {high} over the copies"


def _replica_lines(result: ResultLike, frame: pd.DataFrame) -> tuple[tuple[Line, ...], str]:
    """Return a line per replica, or per perturbation where the replicas are many."""
    families: dict[str, list[str]] = {}
    for label in labels_in(frame):
        families.setdefault(owner(result, label), []).append(label)
    order = [f for f in (*drawn_names(result), NULL, REFERENCE) if f in families]
    hidden = result.noise_floor == 0 and NULL in order
    if hidden:
        order.remove(NULL)
    count = sum(len(families[f]) if len(families[f]) <= MOST_REPLICAS else 1 for f in order)
    most = max(FEWEST_POINTS, MOST_POINTS // max(1, count))
    lines: list[Line] = []
    for family in order:
        lines += _family_lines(result, frame, family, families[family], most)
    longest = frame["step"].nunique()
    banded = any(line.low is not None for line in lines)
    notes = joined(
        "Line: median, band: smallest to largest." if banded else "",
        "The null twin equals the reference and is not drawn." if hidden else "",
        thinning_note(longest, most),
        undefined_note(frame),
        family_note(result),
    )
    return tuple(lines), notes


def _family_lines(
    result: ResultLike, frame: pd.DataFrame, family: str, members: list[str], most: int
) -> list[Line]:
    style = style_of(result, family)
    own = family in (REFERENCE, NULL)
    count = f"{len(members)} replica{'' if len(members) == 1 else 's'}"
    group = family if own else f"{family} ({count})"
    group = NULL_TEXT if family == NULL else group
    if len(members) > MOST_REPLICAS or len(base_seeds(result)) > 1:
        curve = median_curve(frame[frame["b"].isin(members)])
        return [line_of(family, style, curve, most, group=group)]
    faint = family != REFERENCE
    return [
        line_of(
            label,
            style,
            median_curve(frame[frame["b"] == label]),
            most,
            group=group,
            thin_line=faint,
            marked=family == NULL,
        )
        for label in members
    ]
