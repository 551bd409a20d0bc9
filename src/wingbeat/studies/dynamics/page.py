"""What the study leaves in its folder besides the tables: summary, master table and page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wingbeat.report.figures.table import Table
from wingbeat.report.pages.study import StudyPage, write_study_page
from wingbeat.report.prose import floor_text, number
from wingbeat.studies.dynamics import tables
from wingbeat.studies.dynamics.claims import Claim, claims
from wingbeat.studies.dynamics.estimates import DEFINITION_NAMES
from wingbeat.studies.dynamics.figures import sections
from wingbeat.studies.dynamics.plan import SIZES, SLOW, Plan
from wingbeat.studies.dynamics.summary import Found, summary
from wingbeat.study.outcome import StudyResult
from wingbeat.tasks.architectures import FAMILY_NAMES
from wingbeat.trajectory.tensorfile import write_bytes

TITLE = "training dynamics of 21 architectures"
_DEFINITIONS = {
    "spread, full space": "Root of the summed variance of all trainable weights over the copies. "
    "Ratio: at the end of training ÷ at the start. Below 1 the copies end closer together.",
    "spread, projected": "The same after projection to the first three principal components of "
    "all copies and recorded steps. They follow the common path, so that most of the nudge is "
    "invisible at the start: see what is kept under “Variance explained”.",
    "as deep-lyapunov 0.1.2": "What that library prints as its convergence ratio: the standard "
    "deviation of all projected coordinates, flattened, so that the path common to all copies is "
    "mixed in. It is no spread; it is here because the article may have used it. Its exponent "
    "comes from the projected spread.",
    "λ per epoch": "Slope of ln distance to the reference against the epoch, by least squares "
    "before saturation. The claims use ln ratio ÷ epochs under each definition.",
    "early ÷ late": "Mean |change of ln spread| per step in the first half of training ÷ in the "
    "second.",
    "noise floor": "Largest distance of an unperturbed twin from the reference. Exactly 0: "
    "execution repeats bit for bit, and every distance comes from the nudge.",
    "intervals": "95 %, Student's over base seeds, each of which counts once. Family means are "
    "over the nets with at least three base seeds, nets fixed. No correction for several claims.",
}


@dataclass(frozen=True)
class Files:
    """Where the study's files are."""

    page: Path
    markdown: Path
    latex: Path
    summary: Path


def write_outputs(plan: Plan, study: StudyResult, command: str) -> Files:
    """Write ``summary.json``, ``master.md``, ``master.tex`` and ``report.html``.

    Args:
        plan: what was asked.
        study: what was found, finished or not.
        command: the exact command, shown on the page.

    Returns:
        The paths.
    """
    found = Found(study)
    tested = claims(found)
    folder = study.folder
    files = Files(*(folder / n for n in ("report.html", "master.md", "master.tex", "summary.json")))
    content = {
        **summary(found),
        "claims": [_claim_json(c) for c in tested],
        "data": _data(found),
        "failures": [f"{r.key}: {r.status}, {r.error}" for r in study.failures],
        "command": command,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(files.summary, text.encode())
    write_bytes(files.markdown, _markdown(found, tested, command).encode())
    caption = "Copies of a net nudged at the start: do they end closer together? " + " ".join(
        f"{k}: {v}." for k, v in _data(found).items()
    )
    write_bytes(files.latex, (tables.latex(tables.master(found), caption) + "\n").encode())
    write_study_page(page(plan, found, tested, command), files.page)
    return files


def page(plan: Plan, found: Found, tested: list[Claim], command: str) -> StudyPage:
    """Return everything that the page shows."""
    return StudyPage(
        title=TITLE,
        headline=headline(found),
        alarms=tuple(alarms(plan, found)),
        facts=_facts(found),
        intro=tuple(_intro(plan, found)),
        master=tables.master(found),
        nets=tables.nets(found),
        definition_table=tables.by_definition(found),
        claim_heads=tuple(DEFINITION_NAMES.values()),
        claims=tables.claim_rows(tested),
        sections=sections(found),
        asked=tuple(_asked(plan, found)),
        definitions=tuple(_DEFINITIONS.items()),
        command=command,
        version=version("wingbeat"),
    )


def headline(found: Found) -> str:
    """Return the finding in one sentence."""
    counts = [f.counts["full"] for f in found.families]
    sure, apart, total = sum(c[0] for c in counts), sum(c[2] for c in counts), len(found.nets)
    if not total:
        return "Nothing is finished yet."
    return (
        f"Of {total} nets, nudged copies end farther apart in {apart} and closer together in "
        f"{sure}; {total - sure - apart} {'is' if total - sure - apart == 1 else 'are'} open."
    )


def alarms(plan: Plan, found: Found) -> list[str]:
    """Return what must be read before any number."""
    stand_ins = found.done[found.done["stand_in"].astype(bool)]["data"]
    said = [f"Not the data of the article: {label}." for label in dict.fromkeys(stand_ins)]
    if plan.quick:
        said.append(
            "Quick study: few samples and epochs, without the six most expensive nets. It shows "
            "how the study works; its verdicts are about these short trainings."
        )
    said += [
        f"Condition {record.key} was given up ({record.status}): {record.error}"
        for record in found.study.failures
    ]
    left = int((found.study.conditions["status"] == "not run").sum())
    if left:
        said.append(f"{left} conditions are not done yet: run the same command again.")
    if found.noise_floor > 0:
        said.append(f"Execution does not repeat itself exactly ({floor_text(found.noise_floor)}).")
    return said


def _facts(found: Found) -> tuple[tuple[str, str, str], ...]:
    done, floor = found.done, floor_text(found.noise_floor).partition(": ")[2]
    copies = int(done["replicas"].sum()) if len(done) else 0
    seeds = int(done["seed"].nunique()) if len(done) else 0
    return (
        ("nets", str(len(found.nets)), f"in {len(found.families)} families"),
        ("base seeds", str(seeds), "at most, for each net"),
        ("nudged copies", f"{copies:,}", "trained in all"),
        ("noise floor", floor, "distance of the unperturbed twins"),
    )


def _intro(plan: Plan, found: Found) -> list[str]:
    data = "; ".join(f"{k}: {v}" for k, v in _data(found).items())
    how = (
        f"Each net is trained with copies whose weights start {number(100 * plan.perturbation)} % "
        "of each tensor's standard deviation away from the reference. All copies see the same "
        "samples in the same order. Do they end closer together?"
    )
    free = (
        "Optimizers, learning rates and numbers of samples are a choice of this study: the "
        "article does not state them."
    )
    return [how, f"Data: {data}.", free]


def _asked(plan: Plan, found: Found) -> list[tuple[str, str]]:
    sizes = SIZES["quick" if plan.quick else "full"]
    present = [f.family for f in found.families]
    rows = [("perturbation", f"{plan.perturbation:g} of each tensor's standard deviation, step 0")]
    optimizers = {
        "dense": "Adam 0.01, batches of 32",
        "cnn": "Adam 0.001, batches of 32",
        "transformer": "AdamW 0.0005, batches of 16",
    }
    for family in present:
        epochs, samples = sizes[family]
        rows.append(
            (FAMILY_NAMES[family], f"{epochs} epochs of {samples} samples, {optimizers[family]}")
        )
    rows.append(("base seeds", ", ".join(str(s) for s in plan.base_seeds)))
    if plan.quick:
        rows.append(("left out", ", ".join(SLOW)))
    environments = list(found.study.environments.values())
    for name in ("wingbeat", "torch", "python", "platform", "processor", "cpu_capability"):
        values = dict.fromkeys(str(e.get(name, "")) for e in environments)
        rows.append((name.replace("_", " "), ", ".join(values)))
    rows.append(("threads", "1 for each condition"))
    return rows


def _data(found: Found) -> dict[str, str]:
    return {
        FAMILY_NAMES[f.family]: "; ".join(
            dict.fromkeys(str(x) for x in found.done[found.done["family"] == f.family]["data"])
        )
        for f in found.families
    }


def _claim_json(claim: Claim) -> dict[str, Any]:
    return {
        "id": claim.ident,
        "claim": claim.text,
        "quantity": claim.quantity,
        "note": claim.note,
        "measured": {
            d: {**m.estimate.to_json(), "verdict": m.ruling} for d, m in claim.measured.items()
        },
    }


def _markdown(found: Found, tested: list[Claim], command: str) -> str:
    rows = tables.claim_rows(tested)
    heads = ("claim", *DEFINITION_NAMES.values())
    claim_table = Table(
        heads,
        tuple((r.text, *(f"**{ruling}**: {value}" for value, ruling in r.cells)) for r in rows),
    )
    quantities = [f"- {r.text} Measured: {r.quantity}.{_note(r.note)}" for r in rows]
    parts = [
        f"# Study: {TITLE}",
        headline(found),
        *(f"- {family}: {label}" for family, label in _data(found).items()),
        f"Command: `{command}`",
        f"{floor_text(found.noise_floor).capitalize()}.",
        "## Families",
        tables.markdown(tables.master(found)),
        "## Claims of the article",
        tables.markdown(claim_table),
        "\n".join(quantities),
        "## Architectures",
        tables.markdown(tables.nets(found)),
        "## Under each definition of spread",
        tables.markdown(tables.by_definition(found)),
        "## Definitions",
        *(f"**{term}.** {meaning}" for term, meaning in _DEFINITIONS.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _note(note: str) -> str:
    return f" {note}." if note else ""
