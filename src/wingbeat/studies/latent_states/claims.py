"""What is published on latent states of training, and whether these runs agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.report.figures.estimates import estimate_text
from wingbeat.studies.latent_states.found import gap, of, of_task, records
from wingbeat.studies.latent_states.plan import TASKS
from wingbeat.study.analysis import Analysis
from wingbeat.study.verdicts import FAILS, HOLDS, NOT_RUN, UNDETERMINED, Claim, judge

if TYPE_CHECKING:
    from wingbeat.stats import Estimate
    from wingbeat.study.verdicts import Verdict

MOST: Final = 0.5
"""Share of the variance above which occupancy counts as explaining the time to converge."""
TOGETHER: Final = 0.05
"""Share of the records below which a copy counts as on its reference's path."""
PAPER: Final = "2308.09543"
FORKS: Final = (
    ("forks-same", "optional_same", "at one number of states"),
    ("forks-chosen", "optional", "at the number that each score chooses"),
)
"""Ident, number and part of the claims on forks."""


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return the verdicts: forks of the scores, and for each task what LayerNorm and nudges do."""
    first = tuple(_forks(found, ident, name, part) for ident, name, part in FORKS)
    return (*first, *(claim for task in found.plan.tasks for claim in _of_task(found, task)))


def _forks(found: Analysis, ident: str, name: str, part: str) -> Claim:
    forks = gap(found, name)
    return Claim(
        ident,
        "Scores of each run by itself give more optional states than pooled ones.",
        f"scores of each run are the recipe of {PAPER}; that they invent forks is ours",
        f"{_said(forks)} more, mean over conditions",
        judge(forks, 0.0, above=True),
        part=part,
    )


def _of_task(found: Analysis, task: str) -> tuple[Claim, ...]:
    title = TASKS[task].title
    apart = gap(found, "dissimilarity", task)
    last = of(found, task, False, "last_gain_pooled")
    r2 = of(found, task, False, "occupancy_r2")
    copies = of(found, task, False, "apart")
    return (
        Claim(
            "norm-aligns",
            "LayerNorm makes runs spend their time in states more alike.",
            "addition: total dissimilarity .496 → .038 (Wasserstein over numbers of states)",
            f"total variation between two runs less by: {_said(apart)}",
            judge(apart, 0.0, above=True),
            part=title,
        ),
        Claim(
            "norm-detours",
            "Without LayerNorm there is a detour, with it there is none.",
            "addition: two detours without, none with",
            "; ".join(f"{'with' if n else 'without'}: {detour_text(found, task, n)}"
                      for n in (False, True)),
            detours_removed(found, task),
            "Visits before the first convergence, a permutation test, Holm over states.",
            title,
        ),
        Claim(
            "elbow",
            "The last state that is tried adds nothing to the likelihood of held-out runs.",
            "3 to 6 states of 8 by BIC on held-out runs",
            f"{_said(last)} nats a record",
            judge(last, 0.0, above=False),
            part=title,
        ),
        Claim(
            "occupancy",
            "The shares of time in states explain over half of the variance of the time to "
            "converge.",
            "R² .977 (addition), .961 (parity), .049 (MNIST)",
            f"R² {_said(r2)}; of the last state's share alone {_value(found, task, 'r2_last')}",
            judge(r2, MOST, above=True),
            part=title,
        ),
        Claim(
            "twins",
            "A copy nudged at the start is in its reference's state in over 95 % of the records.",
            "not asked",
            f"{_said(copies)} of the records apart",
            judge(copies, TOGETHER, above=False),
            part=title,
        ),
    )  # fmt: skip


def _said(found: Estimate | None) -> str:
    return "not run" if found is None else estimate_text(found)


def detours_removed(found: Analysis, task: str) -> Verdict:
    """Judge "a detour without LayerNorm, none with it" by the verdicts on single states.

    One detour without is enough; with it every optional state must have been tested. "fails" where
    all states without it were tested and none is a detour (there was nothing to remove), or one
    with it is.
    """
    ran = {n: len(of_task(found, "nodes", task, n)) > 0 for n in (False, True)}
    if not all(ran.values()):
        return NOT_RUN
    plain, norm = (set(of_task(found, "detours", task, n)["verdict"]) for n in (False, True))
    if "detour" in norm or plain <= {"no detour"}:
        return FAILS
    return HOLDS if "detour" in plain and "undetermined" not in norm else UNDETERMINED


def detour_text(found: Analysis, task: str, normalised: bool) -> str:
    """Return the verdicts on the optional states of a condition in words."""
    if not len(of_task(found, "nodes", task, normalised)):
        return "not run"
    rows = of_task(found, "detours", task, normalised)
    if not len(rows):
        return "no optional state"
    return ", ".join(f"state {int(r.state)} {_verdict(r)}" for r in records(rows))


def _verdict(row: object) -> str:
    verdict, p, delay = (getattr(row, name) for name in ("verdict", "p", "delay"))
    return str(verdict) if p != p else f"{verdict} ({delay:+.0f} steps, p = {p:.2g})"  # noqa: PLR0124


def _value(found: Analysis, task: str, name: str) -> str:
    rows = found.tables["conditions"]
    own = rows[(rows["task"] == task) & ~rows["normalised"].astype(bool)]
    return f"{float(own[name].iloc[0]):.3g}" if len(own) else "not run"
