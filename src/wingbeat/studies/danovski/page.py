"""What the study leaves in its folder: a tidy table, Markdown tables, a summary and the page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.report.figures.table import Table
from wingbeat.report.pages.claims import CheckedClaim, CheckedPage, write_checked_page
from wingbeat.report.prose import floor_text, number, percent
from wingbeat.studies.danovski.claims import PUBLISHED, PUBLISHED_INITS, claims
from wingbeat.studies.danovski.definitions import DEFINITIONS
from wingbeat.studies.danovski.figures import sections
from wingbeat.studies.danovski.found import Found
from wingbeat.studies.danovski.orbit_claims import OPEN
from wingbeat.studies.danovski.plan import size_text
from wingbeat.studies.dynamics.tables import markdown
from wingbeat.study.ledger import parquet
from wingbeat.trajectory.tensorfile import write_bytes

if TYPE_CHECKING:
    from wingbeat.studies.danovski.found import Measured
    from wingbeat.studies.danovski.plan import Plan
    from wingbeat.study.outcome import StudyResult

TITLE = "chaos of gradient descent on iris"


@dataclass(frozen=True)
class Files:
    """Where the study's files are."""

    page: Path
    markdown: Path
    summary: Path
    table: Path


def write_outputs(plan: Plan, study: StudyResult, command: str) -> Files:
    """Write ``report.html``, ``results.md``, ``summary.json`` and ``danovski.parquet``.

    Args:
        plan: what was asked.
        study: what was found, finished or not.
        command: the exact command, shown on the page.
    """
    found = Found(plan, study)
    tested = claims(found)
    names = ("report.html", "results.md", "summary.json", "danovski.parquet")
    files = Files(*(study.folder / name for name in names))
    write_bytes(files.table, parquet(found.table))
    write_bytes(files.summary, (_json(summary(found, tested, command)) + "\n").encode())
    write_bytes(files.markdown, as_markdown(found, tested, command).encode())
    write_checked_page(page(found, tested, command), files.page)
    return files


def page(found: Found, tested: tuple[CheckedClaim, ...], command: str) -> CheckedPage:
    """Return everything that the page shows."""
    return CheckedPage(
        title=TITLE,
        headline=headline(tested, found),
        alarms=tuple(alarms(found)),
        facts=_facts(found, tested),
        intro=(
            (
                "A 4-10-3 sigmoid net on iris, full-batch gradient descent in float64, after "
                "Danovski, Soriano and Lacasa (arXiv 2404.05782). Each claim of the paper stands "
                "beside what is measured here; values carry 95 % intervals over initialisations."
            ),
        ),
        claims=tested,
        sections=sections(found),
        tables=tables(found),
        asked=tuple(_asked(found)),
        definitions=DEFINITIONS,
        files=(
            "Every number is in the files beside this page: danovski.parquet (one row for each "
            "estimate and each point of a curve), results.md, summary.json, and table.parquet of "
            "the engine's runs that the fast map is compared with."
        ),
        command=command,
        version=version("wingbeat"),
    )


def headline(tested: tuple[CheckedClaim, ...], found: Found) -> str:
    """Return the finding in one or two sentences."""
    judged = [c for c in tested if c.verdict != OPEN]
    if not judged:
        return "Nothing is finished yet."
    whole = sum(c.verdict == "holds" for c in judged)
    m = found.one("renormalised", 1.0)
    early, late = m["exponent_0-200"], m[f"exponent_{m.options.late}-{m.options.steps}"]
    said = f"{whole} of {len(judged)} claims hold."
    if not (early.reason or late.reason):
        said += (
            f" Growth of distances at η = 1: {number(early.value)} per update over the "
            f"first 200; after {m.options.late} it goes on in "
            f"{percent(m['late_positive'].value)} of the nets, {number(late.value)} on average."
        )
    return said


def alarms(found: Found) -> list[str]:
    """Return what must be read before any number."""
    said = []
    if found.plan.quick:
        said.append(
            "Quick study: few initialisations and short runs. It shows how the study works; its "
            "verdicts are about these."
        )
    said += [f"Given up: {r.key} ({r.status}): {r.error}" for r in found.study.failures]
    left = len(found.plan.options) - len(found.measured) - len(found.study.failures)
    if left > 0:
        said.append(f"{left} measurements are not done yet: run the same command again.")
    if found.noise_floor > 0 or found.largest("map_null") > 0:
        said.append("Execution does not repeat itself exactly: equal nets part.")
    if found.largest("map_error") > 1e-12:
        said.append("The fast map is not the engine's: see map_error in danovski.parquet.")
    return said


def tables(found: Found) -> tuple[tuple[str, Table], ...]:
    """Return the tables of the page."""
    return (
        ("nMLE against the size of the nudge", nmle_table(found)),
        ("Renormalised exponent", exponent_table(found)),
        ("Loss series at large η", series_table(found)),
        ("Time to accuracy", accuracy_table(found)),
    )


def nmle_table(found: Found) -> Table:
    """Return the nMLE as published and as measured, with the renormalised exponent beside it."""
    heads = (
        "η, ε",
        "nMLE",
        "sd",
        "published",
        "accepted",
        "published ",
        "renormalised, same windows",
        "renormalised, all",
    )
    rows = []
    for m in found.all("nmle"):
        known = PUBLISHED.get(m.options.epsilon) if m.options.eta == 1.0 else None
        value = "none" if known and not known[1] else number(known[0]) if known else "–"
        share = percent(known[1] / PUBLISHED_INITS) if known else "–"
        cells = (m.text("nmle"), _sd(m), value, m.text("accepted"), share)
        none = m["accepted"].value == 0.0
        same = "–" if none else m.text("renormalised_same_window")
        beside = (same, m.text("renormalised_all"))
        rows.append((f"{m.options.eta:g}, {size_text(m.options.epsilon)}", *cells, *beside))
    return Table(heads, tuple(rows))


def _sd(found: Measured) -> str:
    return "–" if found["nmle_sd"].reason else number(found["nmle_sd"].value)


def exponent_table(found: Found) -> Table:
    """Return the renormalised exponent over each window."""
    rows = []
    for m in found.all("renormalised"):
        for name in [n for n in m.content if n.startswith("exponent_")]:
            span = name.removeprefix("exponent_")
            label = f"η = {m.options.eta:g}, {span.replace('-', '–')}"
            sd = number(m[f"sd_{span}"].value)
            rows.append((label, m.text(name), sd, m.text(f"essential_{span}")))
    heads = ("window", "exponent, 1/update", "sd", "without neutral directions")
    return Table(heads, tuple(rows))


def series_table(found: Found) -> Table:
    """Return periods, autocorrelation and expansion rates of the loss."""
    names = {
        "constant": "settled",
        "period_3": "period a multiple of 3",
        "irregular": "no period",
        "lag_1": "lag 1",
        "lag_2": "lag 2",
        "lag_3": "lag 3",
        "expansion_mode": "expansion, mode",
        "expansion_median": "expansion, median",
    }
    return _by_eta(found.all("series"), names)


def accuracy_table(found: Found) -> Table:
    """Return time to accuracy, nMLE and exponent for each learning rate."""
    names = {
        "time": "median updates to 90 %",
        "reached": "reach it",
        "nmle": "nMLE",
        "accepted": "accepted",
        "renormalised": "renormalised, 0–200",
    }
    return _by_eta(found.all("accuracy"), names)


def _by_eta(rows: list[Measured], names: dict[str, str]) -> Table:
    cells = [(f"{m.options.eta:g}", *(m.text(name) for name in names)) for m in rows]
    return Table(("η", *names.values()), tuple(cells))


def summary(found: Found, tested: tuple[CheckedClaim, ...], command: str) -> dict[str, Any]:
    """Return claims and scalars as JSON; curves are in the table."""
    scalars = [
        {
            "experiment": m.options.experiment,
            "eta": m.options.eta,
            "epsilon": m.options.epsilon,
            "estimates": {k: v for k, v in m.content.items() if "/" not in k and "n" in v},
        }
        for m in found.measured
    ]
    return {
        "headline": headline(tested, found),
        "claims": [vars(c) for c in tested],
        "measurements": scalars,
        "noise_floor": found.noise_floor,
        "failures": [f"{r.key}: {r.status}, {r.error}" for r in found.study.failures],
        "command": command,
    }


def as_markdown(found: Found, tested: tuple[CheckedClaim, ...], command: str) -> str:
    """Return claims and tables as Markdown."""
    heads = ("claim", "published", "measured here", "verdict")
    cells = tuple((c.text, c.published, c.measured, f"**{c.verdict}**") for c in tested)
    parts = [f"# Study: {TITLE}", headline(tested, found), f"Command: `{command}`"]
    parts += [f"**Read this first.** {text}" for text in alarms(found)]
    parts += ["## Claims", markdown(Table(heads, cells))]
    parts.append("\n".join(f"- {c.text} {c.note}" for c in tested if c.note))
    for heading, table in tables(found):
        parts += [f"## {heading}", markdown(table)]
    parts += ["## Definitions", *(f"**{term}.** {meaning}" for term, meaning in DEFINITIONS)]
    return "\n\n".join(parts) + "\n"


def _facts(found: Found, tested: tuple[CheckedClaim, ...]) -> tuple[tuple[str, str, str], ...]:
    judged = [c for c in tested if c.verdict != OPEN]
    floor = floor_text(max(found.noise_floor, 0.0)).partition(": ")[2]
    return (
        ("claims that hold", f"{sum(c.verdict == 'holds' for c in judged)}", f"of {len(judged)}"),
        ("initialisations", str(found.plan.count), "for each nMLE"),
        ("same map", number(found.largest("map_error")), "largest difference from the engine"),
        ("noise floor", floor, "distance of the unperturbed twins"),
    )


def _asked(found: Found) -> list[tuple[str, str]]:
    rows = [("data", "Fisher's iris, 120 training and 30 test rows, drawn once; raw features")]
    for m in found.measured:
        o = m.options
        words = f"{o.inits} initialisations, {o.steps} updates"
        words += (
            f", {o.perturbations} nudges of ε = {size_text(o.epsilon)}" if o.perturbations else ""
        )
        words += f", later part from {o.late}" if o.late else ""
        rows.append((f"{o.experiment}, η = {o.eta:g}", words))
    environments = list(found.study.environments.values())
    for name in ("wingbeat", "torch", "python", "platform", "processor", "cpu_capability"):
        values = dict.fromkeys(str(e.get(name, "")) for e in environments)
        rows.append((name.replace("_", " "), ", ".join(values)))
    return rows


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
