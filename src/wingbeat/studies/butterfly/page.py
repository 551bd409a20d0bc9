"""The page of the spawn-and-perturb study: its words and its tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from wingbeat.replicas.fork import REFERENCE
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.report.figures.table import Table
from wingbeat.report.prose import number, percent
from wingbeat.studies.butterfly.figures import sections
from wingbeat.studies.butterfly.found import (
    OF_CELL,
    QUANTITIES,
    ButterflyFindings,
    cell_words,
    estimate_of,
    records,
)
from wingbeat.studies.butterfly.growth import law_table
from wingbeat.studies.butterfly.interventions import changes, intervention_table
from wingbeat.studies.butterfly.published import beside_published
from wingbeat.study.analysis import PageContent
from wingbeat.study.finished import last_of
from wingbeat.tasks.sst2 import FINETUNE_FACTORIES

if TYPE_CHECKING:
    import pandas as pd

    from wingbeat.study.analysis import Analysis, TitledTable

PAPER: Final = "Beside the paper: barrier of the training loss"
BESIDE: Final = "Interventions beside the standard recipe, in the same base seeds"
MAIN: Final = ("barrier_train", "barrier_test", "l2_start", "l2", "disagreement")
"""Those of the main table."""
DEFINITIONS: Final = {
    "Barrier": "The largest excess of the loss on the straight line between the weights of a "
    "replica and of its reference over the straight line between their losses, on 25 points and "
    "at most 1,024 evenly spaced training (or test) samples without augmentation (less where the "
    "task says so; fine-tuning: 11 points, and 128 samples unless asked). In units of the loss, "
    "at least 0; 0 = one basin. The paper's code takes 11 points, all samples, and the excess "
    "where the raw loss is largest, which is never more.",
    "Size": "Gaussian and batch: the norm of the perturbation as a multiple of E, the expected "
    "norm of the perturbed weights at initialisation. Fraction: the same over the share of "
    "weights that it moves. Single: as a multiple of its tensor's standard deviation at "
    "initialisation. Ulp: how many weights move to the next floating-point number.",
    "Time": "Share of training after which the replica forks off; from then on it sees the same "
    "batches, augmentation and dropout as the reference.",
    "Interval": "95 %, from resampling base seeds and, within them, replicas; Student's quantile "
    "for the number of base seeds. With fewer than three base seeds it is wide or missing.",
    "Noise floor": "The largest L2 distance of an unperturbed twin from its reference.",
}
INTRO: Final = (
    "After Altıntaş et al., “The Butterfly Effect” (ICML 2025, arXiv 2506.13234): copies of a "
    "training run are perturbed once and trained on with the same noise. Each claim about training "
    "from scratch, or about fine-tuning where a pretrained model is trained on, stands beside what "
    "is measured here, on another net, budget and subset of the data: see “What was asked”."
)


QUICK: Final = (
    "Quick study: a small net, few steps and few replicas. It shows how the study works; its "
    "verdicts are about these."
)


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    own: ButterflyFindings = found.own
    names = own.study.conditions["task"].astype(str)
    stand_ins = sorted({f"Not the real data: {n}." for n in names if "stand-in" in n})
    return PageContent(
        intro=(INTRO,),
        facts=_facts(own),
        definitions=DEFINITIONS,
        sections=sections(own),
        tables=_tables(own),
        alarms=(*([QUICK] * own.plan.quick), *stand_ins),
        asked=_asked(own),
    )


def _tables(found: ButterflyFindings) -> list[TitledTable]:
    """Return the tables; the paper's numbers are about training from scratch."""
    cells, plan = found.cells, found.plan
    names = [n for n in plan.interventions if (cells["intervention"] == n).any()]
    own = [(f"cells-{k}", f"Cells: {n}", main_table(cells, n)) for k, n in enumerate(names, 1)]
    if (found.laws["reason"] == "").any():
        own.append(("laws", "By which law distances grow", law_table(found.laws)))
    if len(changed := changes(found)):
        own.insert(0, ("interventions", BESIDE, intervention_table(changed)))
    beside = [("published", PAPER, beside_published(cells))]
    return own if plan.task in FINETUNE_FACTORIES else [*beside, *own]


def main_table(cells: pd.DataFrame, intervention: str) -> Table:
    """Return the cells of an intervention with their main quantities."""
    own = cells[cells["intervention"] == intervention]
    there = [q for q in MAIN if (own["quantity"] == q).any()]
    rows = []
    for _, group in own.groupby(list(OF_CELL), sort=False):
        by_name = {row.quantity: row for row in records(group)}
        first = next(iter(by_name.values()))
        words = (estimate_text(estimate_of(by_name[q])) if q in by_name else "–" for q in there)
        rows.append((cell_words(first), *words, number(first.noise_floor)))
    heads = ("perturbation", *(QUANTITIES[q] for q in there), "noise floor of L2")
    return Table(heads, tuple(rows))


def _facts(found: ButterflyFindings) -> tuple[tuple[str, str, str], ...]:
    plan = found.plan
    copies = f"{plan.copies} replicas, {len(plan.base_seeds)} base seeds"
    return (
        ("grid", f"{len(plan.cells)} cells", copies),
        ("test accuracy", _accuracy(found), "mean of the references, standard recipe"),
    )


def _accuracy(found: ButterflyFindings) -> str:
    table = found.table[found.table["intervention"] == "standard"]
    own = table[(table["metric"] == "accuracy") & (table["b"] == REFERENCE)]
    last = last_of(own.sort_values("step")).dropna()
    return percent(float(last.mean())) if len(last) else "–"


def _asked(found: ButterflyFindings) -> list[tuple[str, str]]:
    plan, frame = found.plan, found.study.conditions
    rows = []
    for name, own in frame.groupby("intervention", sort=False):
        done = int((own["status"] == "done").sum())
        first = own.iloc[0]
        words = f"{first['task']}; {first['length']:,} updates of {first['batch']} samples"
        rows.append((str(name), f"{words}; {done} of {len(own)} base seeds done"))
    minutes = number(float(frame["seconds"].sum()) / 60)
    return [
        *rows,
        ("arguments of the task", json.dumps(plan.arguments_of("standard"), sort_keys=True)),
        ("evaluation samples", f"{plan.eval_samples:,}" if plan.eval_samples else "all"),
        ("left alone", plan.exclude or "no tensor"),
        ("time", f"{minutes} minutes over all conditions"),
    ]
