"""The figures whose x axis is the step: one function each, ``result -> LineFigure | None``.

None means that the result holds no such rows (the metric was not asked for).
Undefined values stay undefined: they break a line and are counted in the caption.
"""

from __future__ import annotations

import math
from dataclasses import replace

from wingbeat.report.figures.families import (
    STEP_LABEL,
    band_note,
    families,
    family_note,
    first_last,
    joined,
    line_of,
    replica_note,
)
from wingbeat.report.figures.records import (
    Guide,
    Line,
    LineFigure,
)
from wingbeat.report.figures.spread_band import with_intervals
from wingbeat.report.figures.style import NULL_STYLE
from wingbeat.report.prose import floor_text, number, percent
from wingbeat.report.result_access import (
    NULL,
    NULL_TEXT,
    ResultLike,
    median_curve,
    rows,
)


def spread_figure(result: ResultLike) -> LineFigure | None:
    """Spread of the replicas of each perturbation, in the whole weight space, on a log axis."""
    lines, notes = families(result, "spread", positive=True)
    if not lines:
        return None
    guides, note = _floor(result)
    lines, told = with_intervals(result, lines)
    bare = lines if not told else tuple(replace(line, low=None) for line in lines)  # no medians
    title = _change(bare, "The spread of", "How does the spread of the copies change?")
    values = rows(result, "spread")["value"]
    if len(values) and (values == 0).all():
        title = "The spread is exactly 0 at every recorded step"
    return LineFigure(
        key="spread",
        title=title,
        caption=joined(
            f"Root of the summed variance of all trainable weights over the replicas; "
            f"{'' if told else band_note(lines)}{replica_note(result)}.",
            told or ("" if band_note(lines) else "One value a step: no interval is drawn."),
            notes,
        ),
        x_label=STEP_LABEL,
        y_label="spread (weight units)",
        lines=lines,
        guides=guides,
        note=note,
        log_y=True,
    )


def distance(result: ResultLike) -> LineFigure | None:
    """L2 distance of each perturbation's replicas to the reference, on a log axis."""
    lines, notes = families(result, "l2", positive=True)
    if not lines:
        return None
    guides, note = _floor(result)
    twin = median_curve(rows(result, "l2", label=NULL), positive=True)
    if any(math.isfinite(v) for v in twin.values):
        lines += (line_of(NULL, NULL_STYLE, twin, 500, group=NULL_TEXT),)
    ends = first_last(lines[0])
    title = "How far are the copies from the reference?"
    if ends is not None:
        title = f"The copies of {lines[0].name} end {number(ends[3])} from the reference"
        title += " (median)" if lines[0].low is not None else ""
    return LineFigure(
        key="distance",
        title=title,
        caption=joined(
            f"L2 distance of all trainable weights to the unperturbed reference; "
            f"{band_note(lines)}{replica_note(result)}.",
            notes,
        ),
        x_label=STEP_LABEL,
        y_label="L2 distance (weight units)",
        lines=lines,
        guides=guides,
        note=note,
        log_y=True,
    )


def local_lyapunov(result: ResultLike) -> LineFigure | None:
    """Local exponent of each perturbation: growth of ln spread per step, interval by interval."""
    lines, notes = families(result, "local_lyapunov")
    if not lines:
        return None
    lines = tuple(_from_start(result, line) for line in lines)
    values = [v for v in lines[0].y[1:] if math.isfinite(v)]
    above = sum(v > 0 for v in values)
    title = "When do the copies part?"
    if values:
        title = f"{lines[0].name}: the spread grew in {above} of {len(values)} recorded intervals"
    return LineFigure(
        key="local_lyapunov",
        title=title,
        caption=joined(
            "Change of ln spread per step over each interval between two records; above the zero "
            f"line the copies part, below it they draw together; {band_note(lines)}"
            f"{replica_note(result)}.",
            notes,
        ),
        x_label=STEP_LABEL,
        y_label="local exponent (1/step)",
        lines=lines,
        guides=(Guide("no change", 0.0),),
        stepped=True,
    )


def _from_start(result: ResultLike, line: Line) -> Line:
    """Prepend the start of the first interval, so that it is drawn with its true width."""
    before = [float(s) for s in result.steps if s < line.x[0]]
    start = max(before, default=line.x[0])
    return Line(
        line.name,
        line.group,
        line.style,
        (start, *line.x),
        (line.y[0], *line.y),
        None if line.low is None else (line.low[0], *line.low),
        None if line.high is None else (line.high[0], *line.high),
    )


def projected_ratio(result: ResultLike) -> LineFigure | None:
    """Spread relative to the fork, in the whole weight space and in the projected one."""
    if not len(rows(result, "spread_projected")):
        return None
    lines = []
    for metric, text, dash in (
        ("spread", "full space", "solid"),
        ("spread_projected", "projected", "dot"),
    ):
        found, _ = families(result, metric, positive=True)
        for line in found:
            base = next((y for y in line.y if math.isfinite(y)), math.nan)
            scaled = tuple(y / base for y in line.y)
            group = f"{line.name}, {text}"
            lines.append(
                Line(group, group, line.style, line.x, scaled, dash=dash, marked=line.marked)
            )
    ends = [e for e in map(first_last, lines[:: max(1, len(lines) // 2)]) if e is not None]
    title = "Does the projection tell the same story as the full weight space?"
    if len(ends) == 2 and len(lines) == 2:
        title = (
            f"The spread changed ×{number(ends[0][3])} in the full weight space, "
            f"×{number(ends[1][3])} in the projection"
        )
    return LineFigure(
        key="projected_ratio",
        title=title,
        caption=joined(
            "Spread divided by its first defined value. The projection keeps only the leading "
            "principal components, so the two may disagree; the verdict uses the full space.",
            family_note(result),
        ),
        x_label=STEP_LABEL,
        y_label="spread ÷ first spread (ratio)",
        lines=tuple(lines),
        guides=(Guide("unchanged", 1.0),),
        log_y=True,
    )


def projected_share(result: ResultLike) -> LineFigure | None:
    """Share of the variance between replicas that the projection keeps, 0 to 1."""
    lines, notes = families(result, "projected_variance_kept")
    if not lines:
        return None
    ends = first_last(lines[0])
    title = "How much of the variance does the projection keep?"
    if ends is not None:
        title = (
            f"The projection keeps {percent(ends[1])} of the variance at step {ends[0]:,.0f} "
            f"and {percent(ends[3])} at step {ends[2]:,.0f}"
        )
    return LineFigure(
        key="projected_share",
        title=title,
        caption=joined(
            "Variance between replicas inside the leading principal components, as a share of "
            "the whole; where it is small, the projected ratio says little.",
            notes,
        ),
        x_label=STEP_LABEL,
        y_label="variance kept (share, 0 to 1)",
        lines=lines,
    )


def _floor(result: ResultLike) -> tuple[tuple[Guide, ...], str]:
    """Return the noise floor as a guide, or as a note where a log axis cannot hold it."""
    text = floor_text(result.noise_floor)
    if math.isfinite(result.noise_floor) and result.noise_floor > 0:
        return (Guide(text, result.noise_floor),), ""
    return (), text


def _change(lines: tuple[Line, ...], what: str, question: str) -> str:
    """Return a title that states how a quantity changed for the first perturbation."""
    ends = first_last(lines[0]) if lines else None
    if ends is None or ends[1] <= 0:
        return question
    x0, y0, x1, y1 = ends
    factor = number(y1 / y0)
    what = what if lines[0].low is None else what.replace("The", "The median", 1)
    return f"{what} {lines[0].name} changed ×{factor} from step {x0:,.0f} to step {x1:,.0f}"
