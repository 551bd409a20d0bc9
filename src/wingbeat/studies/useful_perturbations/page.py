"""The page of the study of useful perturbations."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import dot, table_of
from wingbeat.report.figures.marks import DotFigure
from wingbeat.studies.curvature import DEFINITIONS
from wingbeat.studies.useful_perturbations.found import KEPT, SINGLE
from wingbeat.studies.useful_perturbations.plan import LONG, affordable
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import estimate_in

_INTRO: Final = (
    "A small convolutional net and a small transformer on {:,} of MNIST's images{}, "
    "with Adam and a rate that falls to 0 over {} updates. At {} of training, copies part "
    "by each kind of perturbation, and the mean of their probabilities is an ensemble. All cost "
    "at most as many updates as {} nets that share nothing: {} members. One net trained for as "
    "many updates stands beside them. {} base seeds."
)
_SCEPTIC: Final = (
    "“More members make any ensemble better.” Members are counted by cost: those that share a part "
    "of training, which is trained once, are more. “A net that is trained that long is better "
    "too.” It stands beside them, with a rate of its own that falls over all of it. “The gain of "
    "an ensemble over bad members is no use.” Loss and accuracy of the ensemble itself are "
    "compared wherever different times are."
)
_MEANINGS: Final = {
    "ensemble": "Mean of the members' probabilities; loss (cross-entropy) and accuracy on unseen "
    "digits.",
    "gain": "Mean loss of the members less the loss of the ensemble; accuracy of the ensemble less "
    "the members' mean. Above 0 the ensemble is better.",
    "one weight": "One random weight moved by one deviation of its tensor's initialisation.",
    "all else": "Another initialisation, order and shifts: nets that share nothing.",
    "what a sceptic would say": _SCEPTIC,
    "does not show": "Two small nets, one data set, four times as much as one training; larger "
    "ensembles and nets that fit their data exactly may say otherwise.",
    "intervals": DEFINITIONS["intervals"],
}
_FIGURES: Final = (
    ("gain_loss", "What does an ensemble gain over its members?", "loss"),
    ("loss", "How good is it?", "loss of the ensemble"),
    ("accuracy", "How accurate is it?", "accuracy of the ensemble"),
)


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan, table = found.plan, found.tables["ensembles"]
    counts = ", ".join(f"{affordable(plan.members, t)} from {t:g}" for t in sorted(plan.times))
    times = ", ".join(f"{t:g}" for t in sorted(plan.times))
    moved = ", shifted at random" * plan.shifts
    intro = _INTRO.format(plan.images, moved, plan.steps, times, plan.members, counts, plan.seeds)
    facts = [
        (f"accuracy, {row['net']}, {row['perturbation']}", f"{row['accuracy']:.3f}", "unseen")
        for _, row in table[table["perturbation"].isin([SINGLE, LONG])].iterrows()
    ]
    return PageContent(
        intro=(intro,),
        facts=tuple(facts),
        definitions=_MEANINGS,
        sections=[
            (str(net), f"Ensembles: {net}", tuple(_figures(str(net), own)))
            for net, own in table.groupby("net", sort=True)
        ],
        tables=[("ensembles", "Ensembles", _table(table))],
        asked=(("columns of runs.csv", ", ".join(KEPT)),),
    )


def _figures(net: str, table: pd.DataFrame) -> list[DotFigure]:
    names = tuple(dict.fromkeys(table["perturbation"]))
    times = sorted(table["time"].unique())
    return [
        DotFigure(
            f"{net}-{value}",
            title,
            "Mean over base seeds with its interval of 95 %.",
            "",
            axis,
            tuple(
                dot(
                    names.index(r["perturbation"]), estimate_in(r, value), f"at {r['time']:g}",
                    times.index(r["time"]), f"{r['perturbation']} at {r['time']:g}",
                )
                for _, r in table.iterrows()
            ),
            rows=names,
        )
        for value, title, axis in _FIGURES
    ]  # fmt: skip


def _table(table: pd.DataFrame) -> Any:
    heads = ("net, perturbation", "at", "members", "loss gained", "accuracy gained", "loss",
             "accuracy", "disagreement")  # fmt: skip
    names = ("gain_loss", "gain_accuracy", "loss", "accuracy", "disagreement")
    rows = [
        (
            f"{r['net']}, {r['perturbation']}",
            f"{r['time']:g}",
            str(r["members"]),
            *(estimate_in(r, name) for name in names),
        )
        for _, r in table.iterrows()
    ]
    return table_of(heads, rows)
