"""Figures of the longer measurements: idle weights, and the loss at large learning rates."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from wingbeat.report.figures.marks import Dot, DotFigure, StudyFigure
from wingbeat.report.figures.records import Line, LineFigure
from wingbeat.report.prose import number
from wingbeat.studies.danovski.found import words
from wingbeat.studies.danovski.orbits import PUBLISHED_LAGS

if TYPE_CHECKING:
    from wingbeat.studies.danovski.found import Found, Measured


def weight_figures(found: Found) -> tuple[StudyFigure, ...]:
    """Displacement against path, and the loss without one weight."""
    rows = found.all("weights")
    return (
        DotFigure(
            key="displacement",
            title="Displacement of each weight against its path",
            caption="Each mark is one kernel weight: |w_T − w_0| ÷ |w_0| against the length of its "
            f"path. {_asked(rows)}",
            place_label="path, Σ |w(t+1) − w(t)|",
            value_label="displacement ÷ initial size",
            dots=tuple(_marks(rows, "displacement")),
            log_place=True,
            log_value=True,
        ),
        DotFigure(
            key="loss_ratio",
            title="The loss without one weight",
            caption="Share of first-layer weights by L_w ÷ L, the loss without the weight over the "
            f"loss; the outermost marks hold all beyond. {_asked(rows)}",
            place_label="L_w ÷ L",
            value_label="share of weights",
            dots=tuple(_marks(rows, "loss_ratio")),
        ),
    )


def series_figures(found: Found) -> tuple[StudyFigure, ...]:
    """The loss itself, its autocorrelation, and the rates at which nearby losses part."""
    rows = found.all("series")
    published = [
        Dot(i + 1, v, nan, nan, "published, one run at η = 5", 5, f"lag {i + 1}: {v:g}")
        for i, v in enumerate(PUBLISHED_LAGS)
    ]
    return (
        *(_losses(m) for m in rows if m.options.eta == 5.0),
        DotFigure(
            key="acf",
            title="Autocorrelation of the loss",
            caption="Mean over the nets whose loss varies, with 95 % intervals over nets: the "
            f"nets differ. {_asked(rows)}",
            place_label="lag, updates",
            value_label="autocorrelation",
            dots=(*_marks(rows, "acf"), *published),
            whole_place=True,
        ),
        DotFigure(
            key="expansion",
            title="How fast nearby losses part",
            caption="Share of reference points by the slope of ln d over 10 to 25 updates; one "
            f"loss series each, all nets that have not settled. {_asked(rows)}",
            place_label="expansion rate, 1/update",
            value_label="share of rates",
            dots=tuple(_marks(rows, "expansion")),
        ),
    )


def _marks(rows: list[Measured], name: str) -> list[Dot]:
    found = []
    for style, m in enumerate(rows):
        group = f"η = {m.options.eta:g}"
        for x, e in m.curve(name):
            text = f"{group}, {number(x)}: {words(e)}"
            found.append(Dot(x, e.value, e.low, e.high, group, style, text))
    return found


def _losses(found: Measured) -> LineFigure:
    lines = []
    for style, kind in enumerate(("of period 3", "without a period")):
        points = found.curve(f"loss {kind}")
        if points:
            name = f"a net {kind}"
            x, y = tuple(p[0] for p in points), tuple(p[1].value for p in points)
            lines.append(Line(name, name, style, x, y, thin=True, marked=True))
    return LineFigure(
        key="losses",
        title=f"The last updates of the loss at η = {found.options.eta:g}",
        caption=f"Training loss of the first net of each kind out of {found.options.inits}.",
        x_label="update",
        y_label="training loss, nats",
        lines=tuple(lines),
    )


def _asked(rows: list[Measured]) -> str:
    return " ".join(
        f"η = {m.options.eta:g}: {m.options.inits} nets, {m.options.steps} updates." for m in rows
    )
