"""The page of the study of phases."""

from __future__ import annotations

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
}
"""Curves of change, each drawn as a share of its largest value."""
STATES: Final = {
    "accuracy": "accuracy",
    "local_elasticity": "local elasticity",
    "kernel_from_start": "kernel, distance from the start",
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
        headline="",
        intro=(_INTRO,),
        facts=(
            ("base seeds", str(len(rows)), f"{found.plan.steps} updates each"),
            *((name.replace("_", " "), estimate_text(of(found, name)), text)
              for name, text in MARKS.items()),
        ),
        definitions={
            "marks": "Shares of training, mean over base seeds with Student's interval of 95 %.",
            "onset": "First of the steps at which copies were nudged from which on no copy's "
            "training error rises by more than two points on the way to the reference.",
        },
        sections=(
            ("marks", "When what ends", (_marks(found),)),
            ("change", "What changes", (_curves(found, SHOWN, share=True),)),
            ("state", "Where it stands", (_curves(found, STATES, share=False),)),
        ),
        tables=(
            (
                "numbers",
                "Numbers",
                table_of(
                    ("what", "mean over base seeds"),
                    [(name.replace("_", " "), of(found, name)) for name in NUMBERS],
                ),
            ),
        ),
    )  # fmt: skip


def _marks(found: Analysis) -> DotFigure:
    dots = [dot(i, of(found, name), text, i, text) for i, (name, text) in enumerate(MARKS.items())]
    return DotFigure(
        "marks",
        "In which order do things end?",
        "Shares of training at which each is over, mean over base seeds.",
        "",
        "share of training",
        tuple(dots),
        rows=tuple(MARKS.values()),
    )


def _curves(found: Analysis, names: dict[str, str], *, share: bool) -> LineFigure:
    key = done(found.study).sort_values("seed")["key"].iloc[0]
    lines = []
    for style, (name, text) in enumerate(names.items()):
        steps, values = series(found.study, key, name)
        top = max((v for v in values if v == v), default=0.0) if share else 1.0  # noqa: PLR0124
        lines.append(estimate_line(text, style, steps, [v / top if top else v for v in values]))
    about = "Each as a share of its largest value. " if share else ""
    return LineFigure(
        "change" if share else "state",
        "What moves when?" if share else "What has been reached when?",
        f"{about}Of the reference of the first base seed; means over layers.",
        "step",
        "share of the largest" if share else "value",
        tuple(lines),
    )
