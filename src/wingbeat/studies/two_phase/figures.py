"""The figures of the study of two phases."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, nan
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from wingbeat.report.figures.cell_map import CellMap
from wingbeat.report.figures.estimates import dot, estimate_line, estimate_text
from wingbeat.report.figures.marks import Dot, DotFigure
from wingbeat.report.figures.records import Guide, Line, LineFigure
from wingbeat.report.prose import number
from wingbeat.studies.two_phase.found import COURSES, Runs
from wingbeat.studies.two_phase.plan import AVERAGED
from wingbeat.study.finished import estimate_in

if TYPE_CHECKING:
    from wingbeat.stats import Estimate
    from wingbeat.study.analysis import Tables

INTERVALS: Final = "mean over base seeds with 95 % intervals"


def chaos_map(found: Tables, runs: Runs) -> CellMap:
    """Return how many predictions of nudged copies differ, by both moments, in per cent."""
    own = found["chaos"]
    own = own[own["quantity"] == "disagreement"]
    seen = {
        (int(r["nudged_at"]), int(r["seen_at"])): 100 * float(r["mean"]) for _, r in own.iterrows()
    }
    ends = [t for (t,) in runs.names("norm") if t > 0]

    def cell(row: int, column: int) -> float:
        return seen.get((row, column), nan) if column > row else nan

    first, last = cell(0, runs.end), cell(runs.forks[-1], runs.end)
    return _map(
        "chaos",
        f"Nudged at the start {number(first, 2)} % of predictions end up different, nudged at "
        f"step {runs.forks[-1]} {number(last, 2)} %",
        "Test predictions in per cent that copies nudged at one step (row) give differently from "
        "the reference at a later one (column); mean over copies and base seeds. Read along a row: "
        "what a nudge becomes. Read down a column: what nudging later makes of it.",
        ("seen at step", "nudged at step"),
        (tuple(ends), runs.forks),
        cell,
        "different predictions (%)",
    )


def kernel_map(found: Tables, runs: Runs, name: str) -> CellMap:
    """Return the angle between the kernels of any two moments, in degrees."""
    own = found["kernel_map"]
    values = {(r["first"], r["second"]): float(r[f"{name}_degrees"]) for _, r in own.iterrows()}
    steps = tuple(sorted({0, *(int(b) for _, b in values)}))

    def cell(row: int, column: int) -> float:
        return 0.0 if row == column else values.get((min(row, column), max(row, column)), nan)

    late = next(t for t in steps if t >= runs.end / 4)
    before, after = cell(0, late), cell(late, runs.end)
    centred = name != "angle"
    return _map(
        "centred_kernel" if centred else "kernel",
        f"{'Centred, the' if centred else 'The'} kernel turns by {number(before, 2)}° up to step "
        f"{late} and by {number(after, 2)}° from there to the end",
        "Angle between the tangent kernels of two moments, mean over base seeds: 0° is the same "
        "kernel up to a factor, 90° one that has nothing in common with it. A dark square around "
        "the diagonal is a stretch in which the kernel hardly turns; a light column or row is a "
        "moment whose kernel is soon left behind. Steps are not evenly spaced."
        + (" Centred: without the direction that all samples share." if centred else ""),
        # Not the same words twice: plotly would place the second as it placed the first.
        ("step of one kernel", "step of the other"),
        (steps, steps),
        cell,
        "angle (degrees)",
    )


def _map(
    key: str,
    title: str,
    caption: str,
    labels: tuple[str, str],
    axes: tuple[tuple[int, ...], tuple[int, ...]],
    cell: Callable[[int, int], float],
    value: str,
) -> CellMap:
    """Return a map of columns and rows that are steps."""
    columns, rows = axes
    grid = tuple(tuple(cell(row, column) for column in columns) for row in rows)
    return CellMap(
        key=key,
        title=title,
        caption=caption,
        x_label=labels[0],
        y_label=labels[1],
        columns=tuple(map(str, columns)),
        rows=tuple(map(str, rows)),
        values=grid,
        texts=tuple(tuple(_text(v) for v in row) for row in grid),
        hovers=tuple(
            tuple(
                f"{labels[1]} {r}, {labels[0]} {c}: {v:.3g}"
                for c, v in zip(columns, own, strict=True)
            )
            for r, own in zip(rows, grid, strict=True)
        ),
        value_label=value,
    )


def _text(value: float) -> str:
    """Return a number as it fits into a cell.

    >>> _text(0.25), _text(0.0), _text(12.4), _text(float("nan"))
    ('.2', '0', '12', '')
    """
    if not isfinite(value):
        return ""
    return f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}".removeprefix("0")


def courses(found: Tables, runs: Runs) -> LineFigure:
    """Return what falls along training, each as a factor of its own mean over the moments."""
    lines = []
    for style, (name, words) in enumerate(COURSES.items()):
        own = found["course"]
        own = own[(own["quantity"] == name) & (own["elapsed"] == runs.elapsed)]
        value = own["mean"].to_numpy(dtype=float)
        unit = float(np.exp(np.mean(np.log(value)))) if (value > 0).all() else nan
        lines.append(
            estimate_line(words, style, range(len(value)), tuple(value / unit), marked=True)
        )  # fmt: skip
    return LineFigure(
        "courses",
        "What falls, when, and what does not",
        f"Over {runs.elapsed} updates from each moment on, as a multiple of its own (geometric) "
        "mean; mean over base seeds, intervals in course.csv. A step down is a transition; "
        "a slope is an even decline. Where the last line stays level the kernel slows down only "
        "as much as the weights do.",
        "moment (step)",
        "multiple of its mean",
        tuple(lines),
        log_y=True,
        names=tuple(map(str, runs.forks)),
    )


def structure(found: Tables, plateau: Estimate) -> DotFigure:
    """Return how the distance of kernels grows with the time between them, beside null models."""
    own = found["structure"]
    own = own[own["structure"] > 0]
    kept = _even(own["dt"].to_numpy(dtype=float))
    dots: list[Dot] = [
        dot(
            float(r["dt"]), estimate_in(r, "structure"), "measured", 0, f"{r['dt']:.0f} steps apart"
        )
        for _, r in own.iloc[kept].iterrows()
    ]
    first = own.iloc[kept[0]] if len(kept) else None
    if first is not None:
        dots += [
            Dot(float(r["dt"]), level := float(first["structure"] * r["dt"] / first["dt"]),
                nan, nan, "if it diffused (slope 1)", 1, f"diffusion: {level:.2g}")
            for _, r in own.iloc[kept].iterrows()
        ]  # fmt: skip
    angle = np.radians(plateau.value)
    return DotFigure(
        "structure",
        "Does the kernel get further the longer one waits?",
        f"1 − cosine of two kernels of the second half of training against the time between them, "
        f"{INTERVALS}. Level: a fixed kernel with noise, the kernel is confined. As steep as the "
        "second line: it diffuses; steeper still: it drifts. The level is the mean over the "
        f"longest decade, an opening of {estimate_text(plateau)} degrees.",
        "steps between two kernels",
        "1 − cosine",
        tuple(dots),
        guides=(Guide("a fixed kernel with noise", float(1 - np.cos(angle))),)
        if isfinite(angle)
        else (),
        log_value=True,
        log_place=True,
    )


RESTS: Final = {
    "single": "single records, second half",
    "average": f"averages of {AVERAGED} records, second half",
    "late": "single records, last quarter, full rate",
    "dropped_late": "single records, last quarter, after the drop",
}
"""What the kernels of a structure function are of, by the names of the table ``at_rest``."""


def at_rest(found: Tables) -> DotFigure:
    """Return structure functions of averaged weights and after a drop of the rate."""
    rows = found["at_rest"]
    dots: list[Dot] = []
    for style, (name, words) in enumerate(RESTS.items()):
        own = rows[(rows["of"] == name) & (rows["structure"] > 0)]
        kept = own.iloc[_even(own["dt"].to_numpy(dtype=float))]
        dots += [
            dot(
                float(r["dt"]), estimate_in(r, "structure"), words, style,
                f"{words}: {r['dt']:.0f} steps apart",
            )
            for _, r in kept.iterrows()
        ]  # fmt: skip
    return DotFigure(
        "at_rest",
        "What is left where the jitter of the rate is taken away?",
        f"1 − cosine of two kernels against the time between them, {INTERVALS}. Averages of "
        "successive records are compared with the record in the middle of each, the training whose "
        "rate falls in the middle with the same one at the full rate. Level: a fixed kernel with "
        "noise. A line as steep as before, and lower, has lost speed and not its direction.",
        "steps between two kernels",
        "1 − cosine",
        tuple(dots),
        log_value=True,
        log_place=True,
    )


def _even(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[int]:
    """Return places of about 12 values, evenly spaced in logarithms."""
    if not len(values):
        return []
    wanted = np.geomspace(values[0], values[-1], 12)
    return sorted({int(np.abs(np.log(values / w)).argmin()) for w in wanted})


def fixed_kernel(found: Tables, runs: Runs) -> LineFigure:
    """Return what is reached with the kernel of a moment held fixed from there on."""
    own = found["linearised"]
    whole = float(runs.each("full").mean())
    start, last = (100 * float(own["linearised"].iloc[i]) for i in (0, -1))
    return LineFigure(
        "fixed",
        f"With the kernel of the start held fixed {start:.0f} % are right, with that of step "
        f"{runs.forks[-1]} {last:.0f} %, in full {100 * whole:.0f} %",
        "Test accuracy at the end where from a moment on only the linear model at that moment was "
        f"trained, with its kernel; {INTERVALS} as bands. Below: stopping there. Where the first "
        "line reaches full training nothing later was learnt by moving the kernel.",
        "moment (step)",
        "test accuracy (%)",
        (
            _band(own, "linearised", "kernel held fixed from there on", 0),
            _band(own, "stopped", "stopped there", 1),
        ),
        guides=(Guide("full training", 100 * whole),),
        names=tuple(map(str, runs.forks)),
    )


def _band(own: pd.DataFrame, name: str, words: str, style: int) -> Line:
    columns = {
        c: tuple(100 * own[f"{name}{c}"].to_numpy(dtype=float)) for c in ("", "_low", "_high")
    }
    low, high = columns["_low"], columns["_high"]
    more = {"low": low, "high": high} if np.isfinite([*low, *high]).all() else {}
    return estimate_line(words, style, range(len(own)), columns[""], marked=True, **more)
