"""The page of the study of two phases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pandas as pd

from wingbeat.report.figures.estimates import estimate_text, table_of
from wingbeat.report.figures.table import Table
from wingbeat.studies.two_phase.figures import (
    at_rest,
    chaos_map,
    courses,
    fixed_kernel,
    kernel_map,
    structure,
)
from wingbeat.studies.two_phase.found import COURSES, Runs, mark
from wingbeat.studies.two_phase.measure import KERNEL_SAMPLES
from wingbeat.studies.two_phase.plan import AVERAGED
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import done, estimate_in

if TYPE_CHECKING:
    from wingbeat.stats import Estimate

INTRO: Final = (
    "{task}; SGD at the constant rate {lr:g}, momentum {momentum:g}, {steps} updates. {copies} "
    "nudged at each of {forks} moments and trained on under the same noise as the "
    "reference."
)
MEANINGS: Final = {
    "kernel": "The empirical tangent kernel of kind “trace”, the mean over outputs of ⟨∇f(x), "
    f"∇f(x′)⟩, on {KERNEL_SAMPLES} training images, in eval mode. Other kinds give other angles: "
    "see the page on the tangent kernel.",
    "centred": "Rows and columns have mean 0: without the direction that all samples share, which "
    "dominates the kernel and hides change.",
    "in equal time": "Each quantity is taken over equally many updates from a moment on, so that "
    "late moments do not change less only since little training is left.",
    "doublings": "Powers of 2, of a quantity or of time.",
    "a step explains more": "Share of the variance along the moments that one step explains, its "
    "place taken from the other base seeds, less the share that a straight line in doublings does.",
    "intervals": "95 %, Student's over base seeds; none below three.",
}
REST: Final = {
    "average": f"Mean of the weights of {AVERAGED} successive records, with running statistics "
    "estimated anew for it where there are any.",
    "drop": "The same training a second time, with the rate divided in the middle; both are looked "
    "at over the last quarter, when what the drop itself sets in motion is over.",
}


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    runs: Runs = found.own
    plan, rows = found.plan, done(found.study)
    told = {n: getattr(plan, n) for n in ("lr", "momentum", "steps")}
    told["copies"] = "One copy was" if plan.replicas == 1 else f"{plan.replicas} copies were"
    words = INTRO.format(**told, task=rows["task"].iloc[0].capitalize(), forks=len(runs.forks))
    return PageContent(
        intro=(words,),
        facts=(
            ("base seeds", str(len(runs.numbers)), f"{runs.end} updates each"),
            ("nudge", f"{runs.over('nudge/0').value:.2g}", "L2 norm at the start, realised"),
            ("test accuracy", estimate_text(mark(found, "full")), "of the reference at the end"),
            ("looked at", f"{runs.elapsed} updates", "after each nudge"),
        ),
        definitions=MEANINGS | (REST if "at_rest" in found.tables else {}),
        sections=(
            ("chaos", "What becomes of a nudge", (chaos_map(found.tables, runs),)),
            (
                "kernel",
                "Which way the kernel turns",
                tuple(kernel_map(found.tables, runs, n) for n in ("angle", "centred_angle")),
            ),
            ("courses", "Is there one moment?", (courses(found.tables, runs),)),
            (
                "confined",
                "Is it confined?",
                (structure(found.tables, mark(found, "plateau_degrees")),),
            ),
            ("fixed", "Does its motion matter?", (fixed_kernel(found.tables, runs),)),
            *(
                [("rest", "Is it the jitter of the rate?", (at_rest(found.tables),))]
                if "at_rest" in found.tables
                else []
            ),
        ),
        tables=(
            ("moments", "By moment", _by_moment(found.tables["course"], runs)),
            ("falls", "How much each falls, and how sharply", _falls(found)),
        ),
    )


def _by_moment(course: pd.DataFrame, runs: Runs) -> Table:
    own = course[course["elapsed"] == runs.elapsed]
    lines = []
    for at, rows in own.groupby("step"):
        found = {str(r["quantity"]): estimate_in(r, "mean") for _, r in rows.iterrows()}
        lines.append((str(at), *(found[name] for name in COURSES)))
    return table_of(("step", *COURSES.values()), lines)


def _falls(found: Analysis) -> Table:
    heads = ("quantity", "falls by (doublings)", "a step explains more by", "half over at step")
    lines = [
        (
            words,
            mark(found, f"{name}_fall"),
            mark(found, f"{name}_sharpness"),
            _steps(mark(found, f"{name}_doublings")),
        )
        for name, words in COURSES.items()
    ]
    return table_of(heads, lines)


def _steps(found: Estimate) -> Estimate:
    """Return a moment in steps from its logarithm.

    >>> from wingbeat.stats import Estimate
    >>> _steps(Estimate(3.0, 2.0, 4.0))
    Estimate(value=8.0, low=4.0, high=16.0, reason='', interval_reason='')
    """
    return replace(found, value=2**found.value, low=2**found.low, high=2**found.high)
