"""The page of the study of families."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import dot, estimate_line, estimate_text, table_of
from wingbeat.report.figures.marks import DotFigure
from wingbeat.report.figures.records import Guide, LineFigure
from wingbeat.studies.dynamics.estimates import exponential
from wingbeat.studies.three_families.found import ORDER
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import done, estimate_in, mean_of, series
from wingbeat.study.ranges import SHARE

_INTRO: Final = (
    "A dense ReLU net, a convolutional net and a vision transformer on the same digits, with Adam "
    "and batches of 64, {} updates; {} weights each; learning rates {}; {} copies nudged by {:g} "
    "of each tensor's deviation at the start; {} base seeds. Families are compared after as many "
    "updates, and at the moment at which each first has {:g} of the unseen digits right."
)
_SCEPTIC: Final = (
    "“They differ in how far they have learned.” Therefore the second comparison stops each at one "
    "and the same accuracy, at equal numbers of weights and rates. “Rate 0.003 is not the same to "
    "each.” True: no rate is. The shares of variance set what the rate does beside what the family "
    "does."
)
_MEANINGS: Final = {
    "growth": "Distance of a copy from its reference ÷ their distance right after the nudge; "
    "geometric mean over copies.",
    "at equal accuracy": "At the first record at which the reference has it. Cells of size and "
    "rate in which a family never has it within these updates are left out for all three.",
    "share of the variance": "R² of ln growth at the end on one factor alone, over the runs of a "
    "base seed; what a factor adds is R² with it less R² without.",
    "what a sceptic would say": _SCEPTIC,
    "does not show": "One net of each family and size; 8×8 images; a transformer of one block. "
    "Other shapes of a family can differ as much as families do.",
}


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan, table, seeds = found.plan, found.tables["families"], found.tables["seeds"]
    weights = table.groupby("size")["weights"].agg(["min", "max"]).sort_values("min")
    counts = " and ".join(f"{int(lo):,} to {int(hi):,}" for lo, hi in weights.to_numpy())
    intro = _INTRO.format(
        plan.steps,
        counts,
        ", ".join(f"{lr:g}" for lr in plan.rates),
        plan.replicas,
        plan.scale,
        plan.seeds,
        plan.accuracy,
    )
    facts = [
        (
            f"explained by {name}",
            estimate_text(mean_of(seeds, f"share_{key}", SHARE)),
            "of ln growth",
        )
        for key, name in (("family", "family"), ("lr", "learning rate"), ("size", "size"),
                          ("accuracy", "accuracy"))
    ]  # fmt: skip
    return PageContent(
        intro=(intro,),
        facts=tuple(facts),
        definitions=_MEANINGS,
        sections=[
            ("families", "Families side by side", tuple(_figures(table))),
            ("course", "Along training", (_course(found),)),
        ],
        tables=[("families", "Families", _table(table))],
    )


def _figures(table: pd.DataFrame) -> list[DotFigure]:
    rows = [r for _, r in table.sort_values(["size", "lr"]).iterrows()]
    names = tuple(dict.fromkeys(f"{r['size']}, η = {r['lr']:g}" for r in rows))
    return [
        DotFigure(
            name,
            title,
            "Geometric mean over base seeds with its interval of 95 %.",
            "",
            "growth of a nudge",
            tuple(
                dot(
                    names.index(f"{r['size']}, η = {r['lr']:g}"),
                    exponential(estimate_in(r, name)),
                    r["family"],
                    ORDER.index(r["family"]),
                    f"{r['family']}, {r['size']}, η = {r['lr']:g}",
                )
                for r in rows
            ),
            rows=names,
            guides=(Guide("neither grows nor shrinks", 1.0),),
            log_value=True,
        )
        for name, title in (
            ("log_growth", "After equally many updates"),
            ("log_growth_matched", "At equal accuracy"),
        )
    ]


def _course(found: Analysis) -> LineFigure:
    rows = done(found.study)
    rows = rows[(rows["seed"] == rows["seed"].min()) & (rows["size"] == "large")]
    middle = sorted(rows["lr"].unique())[rows["lr"].nunique() // 2]
    rows = rows[rows["lr"] == middle]
    lines = [
        estimate_line(family, ORDER.index(family), *series(found.study, key, "growth"))
        for family, key in rows[["family", "key"]].itertuples(index=False)
    ]
    return LineFigure(
        "growth-along",
        f"When do copies part? Large nets, η = {middle:g}",
        "Distance ÷ distance right after the nudge, geometric mean over copies, first base seed.",
        "step",
        "growth",
        tuple(lines),
        log_y=True,
    )


def _table(table: pd.DataFrame) -> Any:
    heads = (
        "size, family, η", "weights", "accuracy, end", "growth, end", "reached it", "after updates",
        "growth there", "disagreement there",
    )  # fmt: skip
    return table_of(
        heads,
        [
            (
                f"{r['size']}, {r['family']}, {r['lr']:g}",
                f"{int(r['weights']):,}",
                estimate_in(r, "accuracy_end"),
                exponential(estimate_in(r, "log_growth")),
                f"{r['reached']} of {r['runs']}",
                estimate_in(r, "step_matched"),
                exponential(estimate_in(r, "log_growth_matched")),
                estimate_in(r, "disagreement_matched"),
            )
            for _, r in table.iterrows()
        ],
    )
