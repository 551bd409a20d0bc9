"""The page of the study of irrelevant dimensions."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import dot, estimate_line, table_of
from wingbeat.report.figures.marks import DotFigure
from wingbeat.report.figures.records import Guide, LineFigure
from wingbeat.studies.irrelevant_dimensions.measure import NUDGE, SAMPLES, STILL, TWOFOLD
from wingbeat.studies.irrelevant_dimensions.plan import NETS, RATE, WINDOW
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import done, estimate_in, series

_INTRO: Final = (
    "Small nets on the digits with Adam at {}, batches of 32, {} base seeds. From updates {} on, "
    "every direction of weight space is followed over {} updates by the derivative of the training "
    "step, and the whole Hessian is taken where they end. A direction is irrelevant where a nudge "
    "of {} % of the weights' norm along it neither grows {} nor moves the training loss by "
    "{:g} nats."
)
_SCEPTIC: Final = (
    "“Flat by these thresholds.” They are stated and physical: a nudge of a hundredth of the "
    "weights, a thousandth nat; every net is counted a second time with a tenth of that. The count "
    "is a lower bound, since both forms are added. “Dead pixels make idle weights.” They are "
    "counted by themselves, and a claim asks how much of the irrelevant they and exact symmetries "
    "are. “To first order.” Yes: kinks of ReLUs, which let small finite nudges grow more, are not "
    "in a derivative."
)
_MEANINGS: Final = {
    "growth": "Singular values of the product of the derivatives of the updates, between weights "
    "at both ends; Adam's moments are carried along, and start unperturbed.",
    "moves the loss": f"Second-order change of the training loss of {SAMPLES} evenly spaced "
    f"images, by the absolute value of the Hessian, of a nudge of {NUDGE:g} of the weights' norm: "
    f"{STILL:g} nats or more.",
    "irrelevant": f"Dimension of a subspace whose directions grow less than {TWOFOLD:g} times and "
    "do not move the loss: eigenvalues up to 1 of both forms added, each over its bound.",
    "exact": "Neutral families of the loss that the update carries over unchanged (shifts of "
    "logits) and weights that the loss does not depend on, verified on the run.",
    "participation": "(Σx)² ÷ Σx²: the number of directions that carry the squared growth, or the "
    "curvature.",
    "what a sceptic would say": _SCEPTIC,
    "does not show": "Nets of 310 to 1,210 weights, in which every direction can be followed, over "
    f"{WINDOW} updates; in large nets shares can differ. The transformer is tiny.",
}


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan, nets = found.plan, found.tables["nets"]
    starts = " and ".join(map(str, plan.starts))
    intro = _INTRO.format(RATE, plan.seeds, starts, WINDOW, f"{NUDGE * 100:g}", "twofold", STILL)
    low, high = nets["share_irrelevant"].min(), nets["share_irrelevant"].max()
    return PageContent(
        intro=(intro,),
        facts=(
            ("irrelevant", f"{low:.2f} to {high:.2f}", "of all directions, over nets and moments"),
            ("weights", f"{int(nets['weights'].min())} to {int(nets['weights'].max())}", ""),
        ),
        definitions=_MEANINGS,
        sections=[
            ("shares", "How many neither grow nor move the loss", tuple(_shares(nets))),
            ("growth", "The spectrum of growth", tuple(_spectra(found))),
        ],
        tables=[("nets", "Nets", _table(nets))],
    )


def _shares(nets: pd.DataFrame) -> list[DotFigure]:
    names = tuple(dict.fromkeys(nets["net"]))
    moments = sorted(nets["at"].unique())
    return [
        DotFigure(
            column,
            title,
            "Mean over base seeds with its interval of 95 %.",
            "",
            axis,
            tuple(
                dot(
                    names.index(r["net"]),
                    estimate_in(r, column),
                    f"from update {r['at']}",
                    moments.index(r["at"]),
                    f"{r['net']}, from update {r['at']}",
                )
                for _, r in nets.iterrows()
            ),
            rows=names,
        )
        for column, title, axis in (
            ("share_irrelevant", "Irrelevant directions", "share of all directions"),
            ("growth_dimension", "Directions that carry the growth", "participation ratio"),
        )
    ]


def _spectra(found: Analysis) -> list[LineFigure]:
    rows = done(found.study)
    rows = rows[rows["seed"] == rows["seed"].min()]
    rows = rows.assign(place=rows["net"].map(list(NETS).index)).sort_values("place")
    figures = []
    for at, own in rows.groupby("at", sort=True):
        lines = [
            estimate_line(net, style, *series(found.study, key, "log_growth"))
            for style, net, key in own[["place", "net", "key"]].itertuples(index=False)
        ]
        figures.append(
            LineFigure(
                f"spectrum-{at}",
                f"How much do directions grow? From update {at}",
                "Natural logarithm of the singular values, by percentile, first base seed.",
                "percentile of the directions",
                "ln growth",
                tuple(lines),
                (Guide("neither grows nor shrinks", 0.0),),
            )
        )
    return figures


def _table(nets: pd.DataFrame) -> Any:
    heads = (
        "net, from update", "weights", "irrelevant", "a tenth of the loss", "of them exact (idle)",
        "grow", "move the loss", "carry growth", "carry curvature", "largest growth", "accuracy",
    )  # fmt: skip
    return table_of(
        heads,
        [
            (
                f"{r['net']}, {r['at']}",
                f"{int(r['weights']):,}",
                estimate_in(r, "share_irrelevant"),
                estimate_in(r, "share_irrelevant_strict"),
                f"{r['exact']:.0f} ({r['idle']:.0f}) of {r['irrelevant']:.0f}",
                f"{r['growing']:.0f}",
                f"{r['moving']:.0f}",
                estimate_in(r, "growth_dimension"),
                estimate_in(r, "loss_dimension"),
                estimate_in(r, "top_growth"),
                estimate_in(r, "test_accuracy"),
            )
            for _, r in nets.iterrows()
        ],
    )
