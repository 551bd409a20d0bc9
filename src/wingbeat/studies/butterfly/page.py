"""What the spawn-and-perturb study leaves in its folder: tables, summary and page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wingbeat.report.figures.table import Table
from wingbeat.report.pages.claims import CheckedClaim, CheckedPage, write_checked_page
from wingbeat.report.pages.table_text import markdown
from wingbeat.report.prose import floor_text, number, percent
from wingbeat.studies.butterfly.claims import claims
from wingbeat.studies.butterfly.figures import sections
from wingbeat.studies.butterfly.fine_tuning import finetune_claims
from wingbeat.studies.butterfly.published import beside_published
from wingbeat.studies.butterfly.rulings import FAILS, HOLDS, NOT_RUN, OPEN
from wingbeat.studies.butterfly.tables import Found, accuracy_of, main_table
from wingbeat.study.ledger import parquet
from wingbeat.tasks.sst2 import FINETUNE_FACTORIES
from wingbeat.trajectory.tensorfile import write_bytes

if TYPE_CHECKING:
    from wingbeat.studies.butterfly.plan import Plan
    from wingbeat.study.outcome import StudyResult

TITLE: Final = "spawn and perturb"
PAPER: Final = "Beside the paper: barrier of the training loss"
DEFINITIONS: Final = (
    (
        "Barrier",
        (
            "The largest excess of the loss on the straight line between the weights of a replica "
            "and of its reference over the straight line between their losses, on 25 points and "
            "at most 1,024 evenly spaced training (or test) samples without augmentation (less "
            "where the task says so; fine-tuning: 11 points, and 128 samples unless asked). In "
            "units of the loss, at least 0; 0 = one basin. The paper's code takes 11 points, all "
            "samples, and the excess where the raw loss is largest, which is never more."
        ),
    ),
    (
        "Size",
        (
            "Gaussian and batch: the norm of the perturbation as a multiple of E, the expected "
            "norm of the perturbed weights at initialisation. Fraction: the same over the share of "
            "weights that it moves. Single: as a multiple of its tensor's standard deviation at "
            "initialisation. Ulp: how many weights move to the next floating-point number."
        ),
    ),
    (
        "Time",
        (
            "Share of training after which the replica forks off; from then on it sees the same "
            "batches, augmentation and dropout as the reference."
        ),
    ),
    (
        "Interval",
        (
            "95 %, from resampling base seeds and, within them, replicas; Student's quantile for "
            "the number of base seeds. With fewer than three base seeds it is wide or missing."
        ),
    ),
    ("Noise floor", "The largest L2 distance of an unperturbed twin from its reference."),
)
INTRO: Final = (
    "After Altıntaş et al., “The Butterfly Effect” (ICML 2025, arXiv 2506.13234): copies of a "
    "training run are perturbed once and trained on with the same noise. Each claim about training "
    "from scratch, or about fine-tuning where a pretrained model is trained on, stands beside what "
    "is measured here, on another net, budget and subset of the data: see “What was asked”."
)


@dataclass(frozen=True)
class Files:
    """Where the study's files are."""

    page: Path
    markdown: Path
    summary: Path
    cells: Path
    values: Path


def write_outputs(plan: Plan, study: StudyResult, command: str) -> Files:
    """Write ``report.html``, ``results.md``, ``summary.json``, ``cells`` and ``values.parquet``.

    Args:
        plan: what was asked.
        study: what was found, finished or not.
        command: the exact command, shown on the page.
    """
    found = Found(plan, study)
    tuned = plan.task in FINETUNE_FACTORIES
    tested = finetune_claims(found.values) if tuned else claims(found.values, plan.interventions)
    names = ("report.html", "results.md", "summary.json", "cells.parquet", "values.parquet")
    files = Files(*(study.folder / name for name in names))
    write_bytes(files.cells, parquet(found.cells))
    write_bytes(files.values, parquet(found.values))
    write_bytes(files.summary, (_json(summary(found, tested, command)) + "\n").encode())
    write_bytes(files.markdown, as_markdown(found, tested, command).encode())
    write_checked_page(page(found, tested, command), files.page)
    return files


def page(found: Found, tested: tuple[CheckedClaim, ...], command: str) -> CheckedPage:
    """Return everything that the page shows besides its figures."""
    return CheckedPage(
        title=TITLE,
        headline=headline(tested),
        alarms=tuple(alarms(found)),
        facts=_facts(found, tested),
        intro=(INTRO,),
        claims=tested,
        sections=sections(found),
        tables=tables(found),
        asked=tuple(_asked(found)),
        definitions=DEFINITIONS,
        files="Every number is in the files beside this page: cells.parquet (one row for each "
        "cell and quantity), values.parquet (one for each replica), table.parquet (the runs' own "
        "tidy rows), results.md and summary.json.",
        command=command,
        version=version("wingbeat"),
    )


def headline(tested: tuple[CheckedClaim, ...]) -> str:
    """Return the finding in one sentence."""
    counts = {v: sum(c.verdict == v for c in tested) for v in (HOLDS, FAILS, OPEN, NOT_RUN)}
    judged = counts[HOLDS] + counts[FAILS] + counts[OPEN]
    if not judged:
        return "Nothing that a claim speaks of is finished yet."
    return (
        f"Of {judged} claims measured here, {counts[HOLDS]} hold, {counts[FAILS]} do not and "
        f"{counts[OPEN]} stay undetermined."
    )


def alarms(found: Found) -> list[str]:
    """Return what must be read before any number."""
    said = []
    if found.plan.quick:
        said.append(
            "Quick study: a small net, few steps and few replicas. It shows how the study works; "
            "its verdicts are about these."
        )
    names = found.study.conditions["task"].astype(str)
    said += [
        f"Not the real data: {name}." for name in sorted({n for n in names if "stand-in" in n})
    ]
    said += [f"Given up: {r.key} ({r.status}): {r.error}" for r in found.study.failures]
    left = int((found.study.conditions["status"] == "not run").sum())
    if left:
        said.append(f"{left} conditions are not done yet: run the same command again.")
    if isfinite(found.noise_floor) and found.noise_floor > 0:
        said.append("Execution does not repeat itself exactly: unperturbed twins part.")
    return said


def tables(found: Found) -> tuple[tuple[str, Table], ...]:
    """Return the tables of the page; the paper's numbers are about training from scratch."""
    cells = found.cells
    names = [n for n in found.plan.interventions if (cells["intervention"] == n).any()]
    own = tuple((f"Cells: {name}", main_table(cells, name)) for name in names)
    tuned = found.plan.task in FINETUNE_FACTORIES
    return own if tuned else ((PAPER, beside_published(cells)), *own)


def summary(found: Found, tested: tuple[CheckedClaim, ...], command: str) -> dict[str, Any]:
    """Return claims and cells as JSON."""
    rows = found.cells.astype(object).where(found.cells.notna(), None)
    floor = found.noise_floor
    return {
        "headline": headline(tested),
        "claims": [vars(c) for c in tested],
        "cells": rows.to_dict("records"),
        "noise_floor": floor if isfinite(floor) else None,
        "failures": [f"{r.key}: {r.status}, {r.error}" for r in found.study.failures],
        "command": command,
    }


def as_markdown(found: Found, tested: tuple[CheckedClaim, ...], command: str) -> str:
    """Return claims and tables as Markdown."""
    heads = ("claim", "published", "measured here", "verdict")
    rows = tuple((c.text, c.published, c.measured, f"**{c.verdict}**") for c in tested)
    parts = [f"# Study: {TITLE}", headline(tested), f"Command: `{command}`"]
    parts += [f"**Read this first.** {text}" for text in alarms(found)]
    parts += ["## Claims", markdown(Table(heads, rows))]
    parts.append("\n".join(f"- {c.text} {c.note}" for c in tested if c.note))
    for heading, table in tables(found):
        parts += [f"## {heading}", markdown(table)]
    parts += ["## What was asked", markdown(Table(("name", "value"), tuple(_asked(found))))]
    parts += ["## Definitions", *(f"**{term}.** {meaning}" for term, meaning in DEFINITIONS)]
    return "\n\n".join(parts) + "\n"


def _facts(found: Found, tested: tuple[CheckedClaim, ...]) -> tuple[tuple[str, str, str], ...]:
    judged = [c for c in tested if c.verdict != NOT_RUN]
    accuracy = accuracy_of(found)
    usual = accuracy[accuracy["intervention"] == "standard"]["value"].dropna()
    reached = percent(float(usual.mean())) if len(usual) else "–"
    return (
        ("claims that hold", str(sum(c.verdict == HOLDS for c in judged)), f"of {len(judged)}"),
        (
            "grid",
            f"{len(found.plan.cells)} cells",
            f"{found.plan.replicas} replicas, {found.plan.seeds} base seeds",
        ),
        ("test accuracy", reached, "mean of the references, standard recipe"),
        (
            "noise floor",
            floor_text(max(found.noise_floor, 0.0)).partition(": ")[2]
            if isfinite(found.noise_floor)
            else "–",
            "distance of the unperturbed twins",
        ),
    )


def _asked(found: Found) -> list[tuple[str, str]]:
    plan, frame = found.plan, found.study.conditions
    rows = []
    for name, own in frame.groupby("intervention", sort=False):
        done = int((own["status"] == "done").sum())
        first = own.iloc[0]
        words = f"{first['task']}; {first['length']:,} updates of {first['batch']} samples"
        rows.append((str(name), f"{words}; {done} of {len(own)} base seeds done"))
    rows += [
        ("arguments", json.dumps(plan.arguments_of("standard"), sort_keys=True)),
        ("evaluation samples", "all" if plan.eval_samples is None else f"{plan.eval_samples:,}"),
        ("left alone", plan.exclude or "no tensor"),
    ]
    seconds = frame["seconds"].sum() if "seconds" in frame else 0.0
    rows.append(("time", f"{number(float(seconds) / 60)} minutes over all conditions"))
    environments = list(found.study.environments.values())
    for name in ("driver", "wingbeat", "torch", "python", "platform", "processor"):
        values = dict.fromkeys(str(e.get(name, "")) for e in environments)
        rows.append((name, ", ".join(values)))
    return rows


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
