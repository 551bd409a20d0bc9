"""Curves of one metric, a family per perturbation, and the notes every caption needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import pandas as pd

from wingbeat.report.figures.records import (
    FEWEST_POINTS,
    MOST_FAMILIES,
    MOST_POINTS,
    Line,
)
from wingbeat.report.figures.style import NULL_STYLE, REFERENCE_STYLE
from wingbeat.report.prose import number
from wingbeat.report.result_access import (
    NULL,
    REFERENCE,
    ResultCurve,
    ResultLike,
    base_seeds,
    median_curve,
    names,
    rows,
    thin,
    undefined_note,
)

STEP_LABEL: Final = "step (optimizer updates)"


def drawn_names(result: ResultLike) -> tuple[str, ...]:
    """Return the perturbations that a figure draws: the first few of them."""
    return names(result)[:MOST_FAMILIES]


def family_note(result: ResultLike) -> str:
    """Return a sentence when not every perturbation is drawn, else ""."""
    total, drawn = len(names(result)), len(drawn_names(result))
    return "" if total == drawn else f"The first {drawn} of {total} perturbations are drawn."


def replica_note(result: ResultLike) -> str:
    """Return how many replicas stand behind the curves, as half a sentence."""
    counts = sorted({int(p.get("replicas", 0)) for p in result.perturbations})
    if not counts:
        return "no perturbed replica"
    many = " or ".join(str(c) for c in counts)
    seeds = len(base_seeds(result))
    each = f" in each of {seeds} base seeds" if seeds > 1 else ""
    return f"{many} replica{'' if counts == [1] else 's'} per perturbation{each}"


def band_note(lines: Sequence[Line]) -> str:
    """Return what a band is where there is one, as half a sentence with its comma, else ""."""
    banded = any(line.low is not None for line in lines)
    return "line: median, band: smallest to largest, " if banded else ""


def sentence(lines: Sequence[Line], result: ResultLike) -> str:
    """Return what a band is and how many replicas there are, as a sentence."""
    note = f"{band_note(lines)}{replica_note(result)}."
    return note[:1].upper() + note[1:]


def span(values: Iterable[float]) -> str:
    """Return the smallest to the largest of some numbers in words, "" where none is finite.

    >>> span([2.0, 0.5, math.nan]), span([1.0])
    ('0.5 to 2', '1')
    """
    known = [v for v in values if math.isfinite(v)]
    if not known:
        return ""
    low, high = number(min(known)), number(max(known))
    return low if low == high else f"{low} to {high}"


def over_alpha(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows on a line between two models with α in the place of the step."""
    return frame.assign(step=frame["layer"].str.removeprefix("alpha=").astype("float64"))


def one_each(
    result: ResultLike, rows_of: Callable[[str], pd.DataFrame], marked_to: int = 0
) -> tuple[tuple[Line, ...], pd.DataFrame]:
    """Return a median line for each perturbation that has rows, and all rows drawn.

    Lines of at most ``marked_to`` points have markers.
    """
    lines, frames = [], [result.table.iloc[:0]]
    for style, name in enumerate(drawn_names(result)):
        frame = rows_of(name)
        if len(frame):
            curve = median_curve(frame)
            marked = len(curve.steps) <= marked_to
            lines.append(line_of(name, style, curve, MOST_POINTS, marked=marked))
            frames.append(frame)
    return tuple(lines), pd.concat(frames)


def thinning_note(longest: int, most: int) -> str:
    """Return a sentence when curves were thinned, else ""."""
    if longest <= most:
        return ""
    return f"Thinned for this page: {most} of {longest:,} recorded points of each curve."


def joined(*sentences: str) -> str:
    """Join the sentences that are not empty."""
    return " ".join(s for s in sentences if s)


def first_last(line: Line) -> tuple[float, float, float, float] | None:
    """Return (first step, first value, last step, last value) of the defined points."""
    defined = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    if len(defined) < 2:
        return None
    return (*defined[0], *defined[-1])


def line_of(
    name: str,
    style: int,
    curve: ResultCurve,
    most: int,
    *,
    group: str = "",
    thin_line: bool = False,
    marked: bool = False,
) -> Line:
    """Return a curve as a line of at most `most` points; the key names its group."""
    short = thin(curve, most)
    return Line(
        name=name,
        group=group or name,
        style=style,
        x=short.steps,
        y=short.values,
        low=short.low,
        high=short.high,
        thin=thin_line,
        marked=marked,
    )


def families(
    result: ResultLike, metric: str, *, positive: bool = False
) -> tuple[tuple[Line, ...], str]:
    """Return one line per perturbation for a metric of the whole model, and the notes on it."""
    chosen = drawn_names(result)
    most = max(FEWEST_POINTS, MOST_POINTS // max(1, len(chosen)))
    lines, longest, missing = [], 0, []
    for style, name in enumerate(chosen):
        frame = rows(result, metric, perturbation=name)
        if not len(frame):
            continue
        curve = median_curve(frame, positive=positive)
        longest = max(longest, len(curve.steps))
        missing.append(frame)
        lines.append(line_of(name, style, curve, most, marked=min(len(curve.steps), most) <= 30))
    found = pd.concat(missing) if missing else result.table.iloc[:0]
    notes = joined(undefined_note(found), _zero_note(found) if positive else "")
    return tuple(lines), joined(thinning_note(longest, most), notes, family_note(result))


def _zero_note(frame: pd.DataFrame) -> str:
    """Return a sentence that counts the values which a logarithmic axis cannot hold."""
    zeros = int((frame["value"] <= 0).sum())
    if not zeros:
        return ""
    return f"{zeros} value{'' if zeros == 1 else 's'} of exactly 0 cannot be drawn on this axis."


def style_of(result: ResultLike, family: str) -> int:
    """Return the style index of a perturbation, of the reference or of the null twin."""
    fixed = {REFERENCE: REFERENCE_STYLE, NULL: NULL_STYLE}
    return fixed[family] if family in fixed else names(result).index(family)
