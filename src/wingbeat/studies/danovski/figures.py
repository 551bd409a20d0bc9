"""The figures of the study, each with intervals and the number of initialisations."""

from __future__ import annotations

from math import exp, nan
from typing import TYPE_CHECKING

from wingbeat.report.figures.estimates import dot, estimate_line
from wingbeat.report.figures.marks import Dot, DotFigure, Section, StudyFigure
from wingbeat.report.figures.records import Guide, Line, LineFigure
from wingbeat.report.prose import number
from wingbeat.stats import Estimate
from wingbeat.studies.danovski.claims import PUBLISHED, PUBLISHED_INITS
from wingbeat.studies.danovski.found import DanovskiFindings as Findings
from wingbeat.studies.danovski.found import DanovskiMeasurement as Measurement
from wingbeat.studies.danovski.orbits import PUBLISHED_LAGS
from wingbeat.studies.danovski.plan import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

ZERO = Guide("0: distances neither grow nor shrink", 0.0)
_RATE = "growth of ln distance, 1/update"
_INTERVALS = "Intervals of 95 % over initialisations"


def sections(found: Findings) -> tuple[Section, ...]:
    """Return every figure under its heading."""
    return (
        ("nmle", "nMLE against the nudge", (nmle(found), accepted(found), distances(found))),
        ("exponent", "The renormalised exponent", (rates(found), windows(found))),
        ("orbit", "Orbital stability", (orbit(found, "early"), orbit(found, "late"))),
        ("weights", "Irrelevant dimensions", weight_figures(found)),
        ("series", "The loss at large η", series_figures(found)),
        ("accuracy", "Time to accuracy", (time_to(found), bands(found))),
    )


def _dot(place: float, found: Measurement, name: str, group: str, style: int) -> Dot:
    return dot(place, found[name], group, style, f"{group} (n = {found.count(name)})")


def dots(
    rows: Sequence[Measurement], by: str, names: Sequence[tuple[str, str]], first: int = 0
) -> list[Dot]:
    """Return the marks of several estimates against ``eta`` or ``epsilon``."""
    return [
        _dot(getattr(m.options, by), m, name, group, first + style)
        for style, (name, group) in enumerate(names)
        for m in rows
    ]


def _curve(name: str, style: int, points: Sequence[tuple[float, Estimate]]) -> Line:
    """Return a curve with its interval as a band."""
    x, values = [p[0] for p in points], [p[1] for p in points]
    low, high = tuple(v.low for v in values), tuple(v.high for v in values)
    return estimate_line(name, style, x, [v.value for v in values], low=low, high=high)


def nmle(found: Findings) -> DotFigure:
    """The nMLE at η = 1 for each size, as published and here, and the renormalised exponent."""
    rows = _at_one(found)
    names = [
        ("nmle", "nMLE, here"),
        ("renormalised_same_window", "renormalised exponent, same windows"),
        ("renormalised_all", "renormalised exponent, all nets and updates"),
    ]
    published = [
        Dot(e, value, nan, nan, "nMLE, published", 3, f"published, ε = {e:g}: {value:g}")
        for e, (value, _) in PUBLISHED.items()
    ]
    return DotFigure(
        key="nmle",
        title="The nMLE against the size of the nudge",
        caption=f"{_INTERVALS} ({found.plan.count} tried, accepted ones count); published values "
        "are read off a figure.",
        place_label="ε",
        value_label=_RATE,
        dots=(*dots(rows, "epsilon", names), *published),
        log_place=True,
    )


def accepted(found: Findings) -> DotFigure:
    """Share of initialisations that the rule accepts."""
    published = [
        Dot(e, n / PUBLISHED_INITS, nan, nan, "published", 3, f"published, ε = {e:g}: {n} of 500")
        for e, (_, n) in PUBLISHED.items()
    ]
    return DotFigure(
        key="accepted",
        title="How many initialisations have an nMLE",
        caption="Share with R² > 0.9 and a slope above 0.05, with Wilson's interval of 95 %.",
        place_label="ε",
        value_label="accepted share",
        dots=(*dots(_at_one(found), "epsilon", [("accepted", "here")]), *published),
        log_place=True,
    )


def distances(found: Findings) -> LineFigure:
    """Distance of nudged copies over time at each learning rate."""
    shown = [m for m in found.all("nmle") if m.options.epsilon in (1e-12, 1e-8, 1e-4, 1e-2)]
    lines = []
    for style, m in enumerate(shown):
        name = f"η = {m.options.eta:g}, ε = {size_text(m.options.epsilon)}"
        points = [
            (x, Estimate(exp(e.value), exp(e.low), exp(e.high))) for x, e in m.curve("distance")
        ]
        lines.append(_curve(name, style, points))
    return LineFigure(
        key="distances",
        title="Distance of nudged copies",
        caption=f"Geometric mean of d ÷ (εN) over {found.plan.count} initialisations. {_INTERVALS}."
        " Large nudges meet the size of the attractor within the windows of the fit.",
        x_label="update",
        y_label="d ÷ (εN)",
        lines=tuple(lines),
        log_y=True,
    )


def rates(found: Findings) -> LineFigure:
    """The renormalised growth rate over the run."""
    lines = [
        _curve(f"η = {m.options.eta:g} ({m.options.inits} nets)", style, m.curve("rate"))
        for style, m in enumerate(found.all("renormalised"))
    ]
    return LineFigure(
        key="rates",
        title="Growth over the course of training",
        caption=f"Growth of ln distance in blocks of updates, rescaled each step. {_INTERVALS}.",
        x_label="update",
        y_label=_RATE,
        lines=tuple(lines),
        guides=(ZERO,),
    )


def windows(found: Findings) -> DotFigure:
    """The exponent over several windows, whole and without the neutral directions."""
    rows: list[str] = []
    marks: list[Dot] = []
    for m in found.all("renormalised"):
        for name in [n for n in m.content if n.startswith("exponent_")]:
            span = name.removeprefix("exponent_")
            for style, (kind, group) in enumerate(
                (("exponent", "all directions"), ("essential", "without the neutral ones"))
            ):
                place = len(rows) + 0.2 * (style - 0.5)
                full = f"{kind}_{span}"
                marks.append(_dot(place, m, full, group, style))
            rows.append(f"η = {m.options.eta:g}, {span.replace('-', '–')}")
    return DotFigure(
        key="windows",
        title="The exponent over several windows",
        caption=f"Mean over the updates of each window. {_INTERVALS}. 11 directions that shift all "
        "logits alike have an exponent of exactly 0.",
        place_label="",
        value_label=_RATE,
        dots=tuple(marks),
        rows=tuple(rows),
        guides=(ZERO,),
    )


def orbit(found: Findings, part: str) -> LineFigure:
    """Distance of copies nudged at the start, or late."""
    lines = [
        _curve(
            f"η = {m.options.eta:g}, ε = {size_text(m.options.epsilon)} ({m.options.inits} nets)",
            style,
            m.curve(part),
        )
        for style, m in enumerate(found.all("orbit"))
        if part == "late" or m.options.eta < 1
    ]
    titles = {
        "early": "Nudged at the start, η = 0.01",
        "late": "Nudged late: do copies come back?",
    }
    return LineFigure(
        key=f"orbit-{part}",
        title=titles[part],
        caption=f"d ÷ (εN), L1 over all weights, N = 70. {_INTERVALS}.",
        x_label="update",
        y_label="d ÷ (εN)",
        lines=tuple(lines),
        log_y=part == "late",
    )


def time_to(found: Findings) -> DotFigure:
    """Median time to 90 % test accuracy against the learning rate."""
    return DotFigure(
        key="time",
        title="Which learning rate reaches 90 % first",
        caption="Median first update at which 90 % of 30 test rows are right, with the interval of "
        "order statistics (95 %); not drawn where fewer than half get there.",
        place_label="η",
        value_label="updates",
        dots=tuple(dots(found.all("accuracy"), "eta", [("time", "median")])),
        log_place=True,
        log_value=True,
    )


def bands(found: Findings) -> DotFigure:
    """NMLE, renormalised exponent and shares against the learning rate."""
    names = [
        ("nmle", "nMLE (ε = 1e-8)"),
        ("renormalised", "renormalised exponent, 0–200"),
        ("accepted", "share accepted by the nMLE"),
        ("reached", "share that reaches 90 %"),
    ]
    return DotFigure(
        key="bands",
        title="Where the run is chaotic",
        caption=f"{_INTERVALS}; the first 200 updates.",
        place_label="η",
        value_label="1/update, or share",
        dots=tuple(dots(found.all("accuracy"), "eta", names)),
        log_place=True,
        guides=(ZERO,),
    )


def _at_one(found: Findings) -> list[Measurement]:
    return [m for m in found.all("nmle") if m.options.eta == 1.0]


def weight_figures(found: Findings) -> tuple[StudyFigure, ...]:
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


def series_figures(found: Findings) -> tuple[StudyFigure, ...]:
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


def _marks(rows: list[Measurement], name: str) -> list[Dot]:
    found = []
    for style, m in enumerate(rows):
        group = f"η = {m.options.eta:g}"
        for x, e in m.curve(name):
            found.append(dot(x, e, group, style, f"{group}, {number(x)}"))
    return found


def _losses(found: Measurement) -> LineFigure:
    lines = []
    for style, kind in enumerate(("of period 3", "without a period")):
        points = found.curve(f"loss {kind}")
        if points:
            x, y = [p[0] for p in points], [p[1].value for p in points]
            lines.append(estimate_line(f"a net {kind}", style, x, y, thin=True, marked=True))
    return LineFigure(
        key="losses",
        title=f"The last updates of the loss at η = {found.options.eta:g}",
        caption=f"Training loss of the first net of each kind out of {found.options.inits}.",
        x_label="update",
        y_label="training loss, nats",
        lines=tuple(lines),
    )


def _asked(rows: list[Measurement]) -> str:
    return " ".join(
        f"η = {m.options.eta:g}: {m.options.inits} nets, {m.options.steps} updates." for m in rows
    )
