"""The page of the study of scaling."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import dot, estimate_text, table_of
from wingbeat.report.figures.marks import DotFigure
from wingbeat.report.figures.records import Guide
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.estimates import exponential
from wingbeat.studies.width_depth_size.found import LIMITS, SEEDWISE
from wingbeat.studies.width_depth_size.measure import BASIN
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import estimate_in, mean_of

_INTRO: Final = (
    "Dense nets on the digits with SGD (rate 0.05, momentum 0.9, batches of 64), {} updates: "
    "widths {}; {} hidden layers; {}; and sparse ReLU nets, 64 wide and two deep, with {} of their "
    "weights. Every run carries {} copies of each nudge ({} deviations of a tensor's "
    "initialisation), {} base seeds."
)
_SCEPTIC: Final = (
    "“Wide nets are calmer only because they have fitted the data.” One claim therefore holds "
    "accuracy and training loss constant within each base seed. “It is float32.” `--dtype float64` "
    "repeats everything there. “It is the rate.” One rate for all widths is what people do, and "
    "not what keeps the motion of functions equal: that is not parted here from width."
)
_MEANINGS: Final = {
    "growth": "Convergence ratio: spread of the copies at the end ÷ right after the nudge.",
    "exponent in width, size": "Slope of the logarithm of growth against that of width or size, "
    "by least squares with a level of its own for each depth and size (each net), in each base "
    "seed; the interval is Student's over base seeds, 95 %.",
    "left": f"Share of copies to whose weights the training error rises by more than {BASIN:g} on "
    "the straight way from the reference's.",
    "sparse": "A fixed share of the weights of hidden layers exists, at random or those that are "
    "largest after the full net was trained as long; all start at their initial values. What does "
    "not exist is neither nudged nor counted in distances.",
    "what a sceptic would say": _SCEPTIC,
    "does not show": "Digits, one optimizer and rate, nets of up to 128 units, ten epochs. Masks "
    "are drawn or found in one round before training and stay as they are.",
}


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan, seeds = found.plan, found.tables["seeds"]
    intro = _INTRO.format(
        plan.steps,
        ", ".join(map(str, plan.widths)),
        ", ".join(map(str, plan.depths)),
        " and ".join(plan.activations),
        ", ".join(f"{d:g}" for d in plan.densities) or "none",
        plan.replicas,
        ", ".join(f"{s:g}" for s in plan.sizes),
        plan.seeds,
    )
    facts = [
        (f"{SEEDWISE[name]}", estimate_text(mean_of(own, name)), f"{activation} nets")
        for activation, own in seeds.groupby("activation", sort=True)
        for name in ("width", "size")
    ]
    cells = found.tables["cells"]
    return PageContent(
        intro=(intro,),
        facts=tuple((n, v, str(w)) for n, v, w in facts),
        definitions=_MEANINGS,
        sections=[
            ("size", "Size of the nudge", tuple(_by_size(cells))),
            ("shape", "Width and depth", tuple(_by_width(cells))),
        ],
        tables=[
            ("exponents", "Exponents", _exponents(seeds)),
            ("nets", "Nets", _nets(cells)),
        ],
    )


def growth_in(row: Any) -> Estimate:
    """Return the geometric mean of growth of a row of cells, with its interval."""
    return exponential(estimate_in(row, "log_ratio"))


def _by_size(cells: pd.DataFrame) -> list[DotFigure]:
    depth = int(cells["depth"].median())
    own = cells[(cells["at"] == 0) & (cells["depth"] == depth) & (cells["density"] == 1.0)]
    return [
        _figure(
            f"size-{activation}",
            f"By which factor does a nudge grow? {activation} nets, {depth} hidden layers",
            "size of the nudge, deviations",
            [(float(r["size"]), r, f"width {r['width']}") for _, r in rows.iterrows()],
        )
        for activation, rows in own.groupby("activation", sort=True)
    ]


def _by_width(cells: pd.DataFrame) -> list[DotFigure]:
    sizes = sorted(cells["size"].unique())
    size = sizes[len(sizes) // 2]
    own = cells[(cells["at"] == 0) & (cells["size"] == size) & (cells["density"] == 1.0)]
    return [
        _figure(
            f"width-{activation}",
            f"And in wider nets? {activation} nets, nudged by {size:g}",
            "width",
            [(float(r["width"]), r, f"depth {r['depth']}") for _, r in rows.iterrows()],
        )
        for activation, rows in own.groupby("activation", sort=True)
    ]


def _figure(key: str, title: str, place: str, rows: list[tuple[float, Any, str]]) -> DotFigure:
    groups = list(dict.fromkeys(group for _, _, group in rows))
    return DotFigure(
        key,
        title,
        "Spread at the end ÷ right after the nudge: geometric mean over base seeds, 95 %.",
        place,
        "growth",
        tuple(dot(x, growth_in(r), g, groups.index(g), f"{g}, {x:g}") for x, r, g in rows),
        guides=(Guide("neither grows nor shrinks", 1.0),),
        log_value=True,
        log_place=True,
    )


def _exponents(seeds: pd.DataFrame) -> Any:
    groups = list(seeds.groupby("activation", sort=True))
    return table_of(
        ("quantity", *(f"{activation} nets" for activation, _ in groups)),
        [
            (words, *(mean_of(own, n, LIMITS.get(n)) for _, own in groups))
            for n, words in SEEDWISE.items()
        ],
    )


def _nets(cells: pd.DataFrame) -> Any:
    sizes = sorted(cells["size"].unique())
    start = cells[cells["at"] == 0]
    rows = []
    for (activation, depth, width, density, mask), own in start.groupby(
        ["activation", "depth", "width", "density", "mask"], sort=True
    ):
        by = {r["size"]: r for _, r in own.iterrows()}
        name = f"{activation}, {depth} × {width}" + f", {density:g} of it, {mask}" * (
            density != 1.0
        )
        last = by[sizes[-1]]
        rows.append(
            (
                name,
                float(last["test_accuracy"]),
                *(growth_in(by[size]) for size in sizes),
                float(last["barrier"]),
                float(last["left"]),
            )
        )
    heads = (
        "net", "accuracy", *(f"growth of {size:g}" for size in sizes),
        f"barrier of {sizes[-1]:g}", "left",
    )  # fmt: skip
    return table_of(heads, rows)
