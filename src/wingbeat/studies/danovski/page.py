"""The page of the study: its words, its tables and its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.report.figures.table import Table
from wingbeat.report.prose import number, percent
from wingbeat.studies.danovski.claims import PUBLISHED, PUBLISHED_INITS, late_name
from wingbeat.studies.danovski.figures import sections
from wingbeat.studies.danovski.plan import size_text
from wingbeat.study.analysis import PageContent

if TYPE_CHECKING:
    from wingbeat.studies.danovski.found import DanovskiFindings, DanovskiMeasurement
    from wingbeat.study.analysis import Analysis

DEFINITIONS: Final = {
    "nudge": "Each kernel weight is moved by a uniform draw from (−ε, ε); biases stay. N = 70 "
    "weights. The same draws, multiplied by ε, serve every ε.",
    "distance d": "Σ |w − w′| over all kernels and biases. d ÷ (εN) is 0.5 on average at the "
    "nudge.",
    "nMLE": "Of each initialisation: ln of the mean distance over 5 nudges, a line on every "
    "window [m, m + w) with m = 0, 5, …, 100 and w = 30, 35, …, 100, the one with the best R²; "
    "accepted if R² > 0.9 and the slope > 0.05; then the mean over accepted ones.",
    "renormalised exponent": "Two orbits whose Euclidean distance is reset to 1e-8 after every "
    "update (Benettin); mean growth of ln distance. No window is chosen and no run dropped.",
    "without neutral directions": "The same for differences without what shifts all logits alike: "
    "11 directions that every step carries over unchanged, with an exponent of exactly 0.",
    "settled, period": "Of the last 256 losses: they vary by less than 0.1 % of their size; they "
    "repeat after p updates to within 0.1 % of their range. No period: none up to 64.",
    "expansion rate": "The paper's recipe on the losses from update 2700 on: 1000 reference "
    "points, all other points within 5e-5, the mean difference after n updates without the first, "
    "a line, p ≤ 0.05. Open in the text and chosen here: points at random; neighbours at least 25 "
    "updates away; windows of 10 to 25 points from n = 1, best R²; p of that window; series that "
    "have not settled.",
    "time to accuracy": "First update at which at least 27 of the 30 test rows are right; median "
    "over initialisations.",
    "training rows": "120 of 150, drawn at random once. The paper's own rows are not stated.",
    "same map": "The measurements use one update written out for many nets at once. In every "
    "condition the engine trains one net and two nudged copies, and each recorded step is "
    "predicted from the one before.",
}
"""The words of the study, with what is a choice of this study and not of the paper."""

INTRO: Final = (
    "A 4-10-3 sigmoid net on iris, full-batch gradient descent in float64, after Danovski, Soriano "
    "and Lacasa (arXiv 2404.05782). Each claim of the paper stands beside what is measured here; "
    "values carry 95 % intervals over initialisations."
)
QUICK: Final = (
    "Quick study: few initialisations and short runs. It shows how the study works; its verdicts "
    "are about these."
)


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    own: DanovskiFindings = found.own
    return PageContent(
        headline=_growth(own),
        intro=(INTRO,),
        facts=(
            ("initialisations", str(own.plan.count), "for each nMLE"),
            ("same map", number(own.largest("map_error")), "largest difference from the engine"),
        ),
        definitions=DEFINITIONS,
        sections=sections(own),
        tables=(
            ("nmle-table", "nMLE against the size of the nudge", _nmle(own)),
            ("exponent-table", "Renormalised exponent", _exponents(own)),
            ("series-table", "Loss series at large η", _series(own)),
            ("accuracy-table", "Time to accuracy", _accuracy(own)),
        ),
        alarms=tuple(_alarms(own)),
        asked=tuple(_asked(own)),
    )


def _growth(found: DanovskiFindings) -> str:
    m = found.one("renormalised", 1.0)
    early, late = m["exponent_0-200"], m[late_name(m)]
    if early.reason or late.reason:
        return ""
    return (
        f"Growth of distances at η = 1: {number(early.value)} per update over the first 200; "
        f"after {m.options.late} it goes on in {percent(m['late_positive'].value)} of the nets, "
        f"{number(late.value)} on average."
    )


def _alarms(found: DanovskiFindings) -> list[str]:
    said = [QUICK] if found.plan.quick else []
    if found.largest("map_null") > 0:
        said.append("The fast map does not repeat itself exactly: equal nets part.")
    if found.largest("map_error") > 1e-12:
        said.append("The fast map is not the engine's: see map_error in estimates.csv.")
    return said


def _nmle(found: DanovskiFindings) -> Table:
    """Return the nMLE as published and as measured, with the renormalised exponent beside it."""
    heads = (
        "η, ε",
        "nMLE",
        "sd",
        "published",
        "accepted",
        "published ",
        "renormalised, same windows",
        "renormalised, all",
    )
    rows = []
    for m in found.all("nmle"):
        known = PUBLISHED.get(m.options.epsilon) if m.options.eta == 1.0 else None
        value = "none" if known and not known[1] else number(known[0]) if known else "–"
        share = percent(known[1] / PUBLISHED_INITS) if known else "–"
        cells = (m.text("nmle"), _sd(m), value, m.text("accepted"), share)
        none = m["accepted"].value == 0.0
        same = "–" if none else m.text("renormalised_same_window")
        beside = (same, m.text("renormalised_all"))
        rows.append((f"{m.options.eta:g}, {size_text(m.options.epsilon)}", *cells, *beside))
    return Table(heads, tuple(rows))


def _sd(found: DanovskiMeasurement) -> str:
    return "–" if found["nmle_sd"].reason else number(found["nmle_sd"].value)


def _exponents(found: DanovskiFindings) -> Table:
    """Return the renormalised exponent over each window."""
    rows = []
    for m in found.all("renormalised"):
        for name in [n for n in m.content if n.startswith("exponent_")]:
            span = name.removeprefix("exponent_")
            label = f"η = {m.options.eta:g}, {span.replace('-', '–')}"
            sd = number(m[f"sd_{span}"].value)
            rows.append((label, m.text(name), sd, m.text(f"essential_{span}")))
    heads = ("window", "exponent, 1/update", "sd", "without neutral directions")
    return Table(heads, tuple(rows))


def _series(found: DanovskiFindings) -> Table:
    """Return periods, autocorrelation and expansion rates of the loss."""
    names = {
        "constant": "settled",
        "period_3": "period a multiple of 3",
        "irregular": "no period",
        "lag_1": "lag 1",
        "lag_2": "lag 2",
        "lag_3": "lag 3",
        "expansion_mode": "expansion, mode",
        "expansion_median": "expansion, median",
    }
    return _by_eta(found.all("series"), names)


def _accuracy(found: DanovskiFindings) -> Table:
    """Return time to accuracy, nMLE and exponent for each learning rate."""
    names = {
        "time": "median updates to 90 %",
        "reached": "reach it",
        "nmle": "nMLE",
        "accepted": "accepted",
        "renormalised": "renormalised, 0–200",
    }
    return _by_eta(found.all("accuracy"), names)


def _by_eta(rows: list[DanovskiMeasurement], names: dict[str, str]) -> Table:
    cells = [(f"{m.options.eta:g}", *(m.text(name) for name in names)) for m in rows]
    return Table(("η", *names.values()), tuple(cells))


def _asked(found: DanovskiFindings) -> list[tuple[str, str]]:
    rows = [("data", "Fisher's iris, 120 training and 30 test rows, drawn once; raw features")]
    for m in found.measured:
        o = m.options
        size = f", {o.perturbations} nudges of ε = {size_text(o.epsilon)}" * (o.perturbations > 0)
        late = f", later part from {o.late}" * (o.late > 0)
        said = f"{o.inits} initialisations, {o.steps} updates{size}{late}"
        rows.append((f"{o.experiment}, η = {o.eta:g}", said))
    return rows
