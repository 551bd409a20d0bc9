"""The page of the study of checkpoints."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import dot, table_of
from wingbeat.report.figures.marks import DotFigure
from wingbeat.report.figures.records import Guide
from wingbeat.studies.curvature import DEFINITIONS
from wingbeat.studies.which_checkpoint.found import KEPT, SENSITIVITIES, USES
from wingbeat.studies.which_checkpoint.measure import TUNED_ON, TUNING_STEPS
from wingbeat.studies.which_checkpoint.plan import LR
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import estimate_in

_INTRO: Final = (
    "Nets that learn five digits with momentum and a rate that stays at {:g}, {} updates. At {} "
    "checkpoints of each, copies are forked and trained on for {} updates: {} nudged by {:g} of "
    "each tensor's deviation under exactly the same noise, which says how sensitive training is "
    "from there on; and {} in another order of the images, whose weights are averaged. From each "
    "checkpoint a net is also fine-tuned on {} images of the other five digits, {} updates. {} "
    "base seeds."
)
_SCEPTIC: Final = (
    "“It is the time, not the sensitivity: late checkpoints are calm, and good for other reasons.” "
    "Therefore two claims compare base seeds at one and the same checkpoint: what checkpoint and "
    "base seed explain is taken off growth, gain and accuracy, and what is left over is "
    "correlated. “The best of eight checkpoints is the luckiest.” The best is chosen by the other "
    "base seeds. “Copies that part gain by averaging because they differ.” Nudged copies say how "
    "sensitive training is; those that are averaged are others, of another order of images."
)
_MEANINGS: Final = {
    "growth": "ln of the distance between nudged copy and reference after the further updates ÷ "
    "right after the nudge; mean over copies.",
    "local exponent": "The same of a nudge a hundredth as large, per update.",
    "gain of averaging": "Loss (accuracy) of the copies in another order, their mean, against that "
    "of the average of their weights; above 0 the average is better.",
    "fine-tuned": "From the checkpoint's weights, with a new head; the checkpoint at update 0 is "
    "training from scratch.",
    "what a sceptic would say": _SCEPTIC,
    "does not show": "Two small nets, one data set, one optimizer whose rate stays: where "
    "it falls, late copies hardly move, and neither part nor gain.",
    "sharpness": DEFINITIONS["sharpness"],
    "intervals": DEFINITIONS["intervals"],
}
_FIGURES: Final = (
    ("log_growth", "How much does a nudge grow from a checkpoint on?", "growth, e-folds", 0.0),
    ("barrier", "Do nudged copies leave the basin?", "barrier of test loss", 0.0),
    ("gain_accuracy", "What does averaging gain?", "accuracy", 0.0),
    ("average_accuracy", "How good is the average?", "accuracy", None),
    ("tuned_accuracy", "How good is a net that was fine-tuned from there?", "accuracy", None),
)


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan, table = found.plan, found.tables["checkpoints"]
    intro = _INTRO.format(
        LR, plan.steps, len(plan.shares), plan.further, plan.replicas, plan.scale,
        plan.replicas, TUNED_ON, TUNING_STEPS, plan.seeds,
    )  # fmt: skip
    last = table[table["at"] == table["at"].max()]
    facts = [
        (f"accuracy, {row['net']}", f"{row['accuracy_at']:.3f}", "at the last checkpoint, unseen")
        for _, row in last.iterrows()
    ]
    return PageContent(
        intro=(intro,),
        facts=tuple(facts),
        definitions=_MEANINGS,
        sections=[("checkpoints", "Along training", tuple(_figures(table)))],
        tables=[
            ("checkpoints", "Checkpoints", _table(table)),
            ("links", "Which sensitivity goes with which use", _links(found.tables["links"])),
        ],
        asked=(("columns of runs.csv", ", ".join(KEPT)),),
    )


def _figures(table: pd.DataFrame) -> list[DotFigure]:
    nets = list(dict.fromkeys(table["net"]))
    return [
        DotFigure(
            name,
            title,
            "Mean over base seeds with its interval of 95 %.",
            "update of the checkpoint",
            axis,
            tuple(
                dot(
                    float(r["at"]), estimate_in(r, name), r["net"], nets.index(r["net"]),
                    f"{r['net']}, update {r['at']}",
                )
                for _, r in table.iterrows()
            ),
            guides=() if guide is None else (Guide("none", guide),),
        )
        for name, title, axis, guide in _FIGURES
    ]  # fmt: skip


def _table(table: pd.DataFrame) -> Any:
    names = ("accuracy_at", "log_growth", "barrier", "sharpness", "barrier_order", "gain_accuracy",
             "average_accuracy", "tuned_accuracy")  # fmt: skip
    heads = (
        "net, update", "accuracy", "growth", "barrier", "sharpness", "barrier, other order",
        "accuracy gained by averaging", "accuracy of the average", "fine-tuned",
    )  # fmt: skip
    rows = [
        (f"{r['net']}, {r['at']}", *(estimate_in(r, name) for name in names))
        for _, r in table.iterrows()
    ]
    return table_of(heads, rows)


def _links(table: pd.DataFrame) -> Any:
    heads = ("net", "sensitivity", "use", "over checkpoints", "at one checkpoint")
    rows = [
        (
            r["net"], SENSITIVITIES[r["sensitivity"]], USES[r["use"]],
            estimate_in(r, "along"), estimate_in(r, "beside"),
        )
        for _, r in table.iterrows()
    ]  # fmt: skip
    return table_of(heads, rows)
