"""The figures of the study, each with intervals and the number of initialisations."""

from __future__ import annotations

from math import exp, nan
from typing import TYPE_CHECKING

from wingbeat.report.figures.marks import Dot, DotFigure, StudyFigure
from wingbeat.report.figures.records import Guide, Line, LineFigure
from wingbeat.stats import Estimate
from wingbeat.studies.danovski.claims import PUBLISHED, PUBLISHED_INITS
from wingbeat.studies.danovski.found import Found, Measured, words
from wingbeat.studies.danovski.orbit_figures import series_figures, weight_figures
from wingbeat.studies.danovski.plan import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

Section = tuple[str, str, tuple[StudyFigure, ...]]
ZERO = Guide("0: distances neither grow nor shrink", 0.0)
_RATE = "growth of ln distance, 1/update"
_INTERVALS = "Intervals of 95 % over initialisations"


def sections(found: Found) -> tuple[Section, ...]:
    """Return every figure under its heading."""
    return (
        ("nmle", "nMLE against the nudge", (nmle(found), accepted(found), distances(found))),
        ("exponent", "The renormalised exponent", (rates(found), windows(found))),
        ("orbit", "Orbital stability", (orbit(found, "early"), orbit(found, "late"))),
        ("weights", "Irrelevant dimensions", weight_figures(found)),
        ("series", "The loss at large η", series_figures(found)),
        ("accuracy", "Time to accuracy", (time_to(found), bands(found))),
    )


def dot(place: float, e: Estimate, group: str, style: int, n: int) -> Dot:
    """Return a mark whose hover text names its group, value, interval and number."""
    return Dot(place, e.value, e.low, e.high, group, style, f"{group}: {words(e)} (n = {n})")


def dots(
    rows: Sequence[Measured], by: str, names: Sequence[tuple[str, str]], first: int = 0
) -> list[Dot]:
    """Return the marks of several estimates against ``eta`` or ``epsilon``."""
    return [
        dot(getattr(m.options, by), m[name], group, first + style, m.count(name))
        for style, (name, group) in enumerate(names)
        for m in rows
    ]


def line(name: str, style: int, points: Sequence[tuple[float, Estimate]]) -> Line:
    """Return a curve with its interval as a band."""
    x, values = [p[0] for p in points], [p[1] for p in points]
    return Line(
        name=name,
        group=name,
        style=style,
        x=tuple(x),
        y=tuple(v.value for v in values),
        low=tuple(v.low for v in values),
        high=tuple(v.high for v in values),
    )


def nmle(found: Found) -> DotFigure:
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


def accepted(found: Found) -> DotFigure:
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


def distances(found: Found) -> LineFigure:
    """Distance of nudged copies over time at each learning rate."""
    shown = [m for m in found.all("nmle") if m.options.epsilon in (1e-12, 1e-8, 1e-4, 1e-2)]
    lines = []
    for style, m in enumerate(shown):
        name = f"η = {m.options.eta:g}, ε = {size_text(m.options.epsilon)}"
        points = [
            (x, Estimate(exp(e.value), exp(e.low), exp(e.high))) for x, e in m.curve("distance")
        ]
        lines.append(line(name, style, points))
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


def rates(found: Found) -> LineFigure:
    """The renormalised growth rate over the run."""
    lines = [
        line(f"η = {m.options.eta:g} ({m.options.inits} nets)", style, m.curve("rate"))
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


def windows(found: Found) -> DotFigure:
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
                marks.append(dot(place, m[full], group, style, m.count(full)))
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


def orbit(found: Found, part: str) -> LineFigure:
    """Distance of copies nudged at the start, or late."""
    lines = [
        line(
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


def time_to(found: Found) -> DotFigure:
    """Median time to 90 % test accuracy against the learning rate."""
    return DotFigure(
        key="time",
        title="Which learning rate is soonest at 90 %",
        caption="Median first update at which 90 % of 30 test rows are right, with the interval of "
        "order statistics (95 %); not drawn where fewer than half get there.",
        place_label="η",
        value_label="updates",
        dots=tuple(dots(found.all("accuracy"), "eta", [("time", "median")])),
        log_place=True,
        log_value=True,
    )


def bands(found: Found) -> DotFigure:
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


def _at_one(found: Found) -> list[Measured]:
    return [m for m in found.all("nmle") if m.options.eta == 1.0]
