"""The page of the study of phases."""

from __future__ import annotations

from math import isfinite
from typing import Final

from wingbeat.report.figures.estimates import dot, estimate_line, estimate_text, table_of
from wingbeat.report.figures.marks import DotFigure
from wingbeat.report.figures.records import LineFigure
from wingbeat.studies.phases.claims import MARKS, NUMBERS, of
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import done, series

SHOWN: Final = {
    "train_loss": "training loss",
    "kernel_motion": "motion of the tangent kernel",
    "activation_flips_step": "units switched",
    "unit_drift_step": "drift of units",
    "kernel_from_start": "kernel, distance from the start",
}
"""Curves of change, each drawn as a share of its largest value."""
SINCE: Final = ("kernel_motion", "activation_flips_step", "unit_drift_step")
"""Curves from one record to the next, of which the first record has none."""
STATES: Final = {
    "accuracy": "accuracy",
    "local_elasticity": "local elasticity",
    "unit_cosine_start": "cosine of units with their start",
}


_INTRO: Final = (
    "One dense ReLU net on the digits, looked at in all the ways of single papers at once: when "
    "does the loss fall, when do nudged copies stop leaving, when does the kernel settle, and what "
    "still moves at the end?"
)


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    rows = done(found.study)
    return PageContent(
        intro=(_INTRO,),
        facts=(
            ("base seeds", str(len(rows)), f"{int(rows['steps'].iloc[0])} updates each"),
            *((NUMBERS[name], estimate_text(of(found, name)), text)
              for name, text in MARKS.items()),
        ),
        definitions={
            "marks": "Shares of training, mean over base seeds with Student's interval of 95 %.",
            "onset": "First of the steps at which copies were nudged from which on no copy's "
            "training error rises by more than two points on the way to the reference.",
        },
        sections=(
            ("marks", "When what ends", (_marks(found),)),
            ("change", "What changes", (_changes(found),)),
            ("state", "Where it stands", (_states(found),)),
        ),
        tables=(
            (
                "numbers",
                "Numbers",
                table_of(
                    ("what", "mean over base seeds"),
                    [(words, of(found, name)) for name, words in NUMBERS.items()],
                ),
            ),
        ),
    )  # fmt: skip


def _marks(found: Analysis) -> DotFigure:
    words = "mean over base seeds, 95 % interval"
    dots = [dot(i, of(found, n), words, 0, text) for i, (n, text) in enumerate(MARKS.items())]
    return DotFigure(
        "marks",
        "In which order do things end?",
        "; ".join(f"{NUMBERS[name]}: {text}" for name, text in MARKS.items()).capitalize() + ".",
        "",
        "share of training",
        tuple(dots),
        rows=tuple(NUMBERS[name] for name in MARKS),
    )


def _changes(found: Analysis) -> LineFigure:
    row = done(found.study).sort_values("seed").iloc[0]
    lines = [
        estimate_line(words, style, *_shares(found, row["key"], name))
        for style, (name, words) in enumerate(SHOWN.items())
    ]
    for style, name in enumerate(MARKS, len(lines)):
        at = float(row[name]) * float(row["steps"])
        if isfinite(at):
            upright = estimate_line(NUMBERS[name], style, (at, at), (0.0, 1.0), dash="dot")
            lines.append(upright)
    return LineFigure(
        "change",
        "What moves when?",
        "Each as a share of its largest value; upright lines: when what is over. Of the reference "
        "of the first base seed; means over layers.",
        "step",
        "share of the largest",
        tuple(lines),
    )


def _shares(found: Analysis, key: str, name: str) -> tuple[list[int], list[float]]:
    """Return a curve as a share of its largest value."""
    steps, values = series(found.study, key, name)
    first = 1 if name in SINCE else 0
    top = max((v for v in values if isfinite(v)), default=0.0) or 1.0
    return steps[first:], [v / top for v in values[first:]]


def _states(found: Analysis) -> LineFigure:
    key = done(found.study).sort_values("seed")["key"].iloc[0]
    return LineFigure(
        "state",
        "What has been reached when?",
        "Of the reference of the first base seed; means over layers.",
        "step",
        "value",
        tuple(
            estimate_line(text, style, *series(found.study, key, name))
            for style, (name, text) in enumerate(STATES.items())
        ),
    )
