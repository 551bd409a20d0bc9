"""What any study leaves in its folder: CSV, JSON, Markdown, LaTeX, and one page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.files import write_bytes
from wingbeat.report.drawing.any_figure import AnyFigure, drawn
from wingbeat.report.drawing.rendered import Section
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.document import render_document, write_document
from wingbeat.report.pages.table_text import latex, markdown
from wingbeat.report.prose import floor_text, plural
from wingbeat.study.verdicts import HOLDS, NOT_RUN, Claim, counted, together
from wingbeat.version import __version__

if TYPE_CHECKING:
    from wingbeat.study.analysis import Analysis, PageContent
    from wingbeat.study.outcome import StudyResult


@dataclass(frozen=True)
class FindingPage:
    """Everything that the page of a study shows.

    Attributes:
        title: of the study.
        headline: its finding in one sentence.
        remarks: what it must not be read without.
        question: what was asked.
        alarms: what to read first: stand-ins, failures.
        facts: name, value and what stands below it.
        intro: paragraphs on what was done.
        sections: identifier, heading and figures.
        tables: identifier, heading and table.
        asked: name and text of what was asked and of how it was executed.
        definitions: term and meaning.
        command: the exact command.
        version: of wingbeat.
        claims: each with what was published, what is measured here, and the verdict.
        files: names of the tables beside the page.
    """

    title: str
    headline: str
    alarms: tuple[str, ...]
    facts: tuple[tuple[str, str, str], ...]
    intro: tuple[str, ...]
    sections: tuple[tuple[str, str, tuple[AnyFigure, ...]], ...]
    tables: tuple[tuple[str, str, Table], ...]
    asked: tuple[tuple[str, str], ...]
    definitions: tuple[tuple[str, str], ...]
    command: str
    version: str
    claims: tuple[Claim, ...] = ()
    files: tuple[str, ...] = ()
    remarks: str = ""
    question: str = ""

    @property
    def told(self) -> str:
        """Headline and remarks in a line."""
        return " ".join(filter(None, (self.headline, self.remarks)))


def write_finding(name: str, page: FindingPage, found: Analysis) -> Path:
    """Write tables, ``summary.json``, ``results.md``, ``results.tex`` and ``report.html``.

    Args:
        name: of the study.
        page: as ``page_of`` returns it.
        found: its conditions, tables and claims; their folder is where everything is written.

    Returns:
        The path of the page.

    Raises:
        StoreError: a file cannot be written.
    """
    folder = found.study.folder
    for place, table in found.tables.items():
        write_bytes(folder / f"{place}.csv", table.to_csv(index=False).encode())
    texts = {
        "summary.json": _summary(name, page, found),
        "results.md": as_markdown(page),
        "results.tex": "\n\n".join(latex(t, f"{page.title}: {head}") for _, head, t in page.tables),
    }
    for place, text in texts.items():
        write_bytes(folder / place, (text.rstrip("\n") + "\n").encode())
    return write_finding_page(page, folder / "report.html")


def _summary(name: str, page: FindingPage, found: Analysis) -> str:
    content = {
        "study": name,
        "question": page.question,
        "headline": page.told,
        "command": page.command,
        "noise_floor": found.noise_floor if isfinite(found.noise_floor) else None,
        "claims": [asdict(c) for c in page.claims],
        "tables": [f"{place}.csv" for place in found.tables],
        "failures": [f"{r.key}: {r.status}, {r.error}" for r in found.study.failures],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def page_of(title: str, content: PageContent, found: Analysis, command: str) -> FindingPage:
    """Return the page of a study that has been run.

    Args:
        title: of the study.
        content: its own words, figures and tables.
        found: its conditions and claims.
        command: that runs it again.
    """
    headline, remarks = content.headline, found.answer.whole
    if not headline and found.answer.said:
        headline, *more = found.answer.said
        remarks = " ".join(filter(None, (*more, found.answer.doubt)))
    return FindingPage(
        title=title,
        headline=headline or counted(found.claims),
        remarks=remarks,
        question=found.question,
        alarms=(*content.alarms, *_left(found.study), *_floor_alarm(found.noise_floor)),
        facts=(*_judged(found.claims), *content.facts, *_floor_fact(found.noise_floor)),
        intro=content.intro,
        sections=tuple(content.sections),
        tables=tuple(content.tables),
        asked=(*content.asked, *_executed(found.study)),
        definitions=tuple(content.definitions.items()),
        command=command,
        version=__version__,
        claims=found.claims,
        files=tuple(f"{name}.csv" for name in found.tables),
    )


def _judged(claims: tuple[Claim, ...]) -> tuple[tuple[str, str, str], ...]:
    given = [c.verdict for c in claims if c.verdict != NOT_RUN]
    fact = ("claims that hold", str(given.count(HOLDS)), f"of {len(given)} measured")
    sure, of = together(claims)
    both = ("claims decided together", str(sure), f"of {of} judged by an interval; at 5 %, Holm")
    return ((fact, both) if of > 1 else (fact,)) if claims else ()


def _floor_fact(floor: float) -> tuple[tuple[str, str, str], ...]:
    said = floor_text(floor).partition(": ")[2]
    fact = ("noise floor", said, "distance of the unperturbed twins")
    return (fact,) if isfinite(floor) else ()


def _floor_alarm(floor: float) -> tuple[str, ...]:
    said = "Execution does not repeat itself exactly: unperturbed twins part"
    return (f"{said} ({floor_text(floor)}).",) if isfinite(floor) and floor > 0 else ()


def _left(study: StudyResult) -> list[str]:
    """Return what was given up and what is not done yet, a sentence each."""
    said = [f"Condition {r.key} was given up ({r.status}): {r.error}" for r in study.failures]
    missing = int((study.conditions["status"] == "not run").sum())
    be = "is" if missing == 1 else "are"
    return said + (
        [f"{plural(missing, 'condition')} {be} not done: run the same command again."]
        * (missing > 0)
    )


def _executed(study: StudyResult) -> list[tuple[str, str]]:
    rows = []
    asked = ("factory", "arguments", "dtype", "driver")
    for column in (c for c in asked if c in study.conditions):
        values = dict.fromkeys(str(v) for v in study.conditions[column])
        shown = list(values)[:3] + (["…"] if len(values) > 3 else [])
        rows.append((column, "; ".join(shown)))
    for name in ("wingbeat", "torch", "python", "platform", "processor", "cpu_capability"):
        found = dict.fromkeys(str(e.get(name, "")) for e in study.environments.values())
        rows.append((name.replace("_", " "), ", ".join(found)))
    return [(name, value) for name, value in rows if value]


def write_finding_page(page: FindingPage, path: str | Path) -> Path:
    """Write the page, replacing an earlier one in one step, and return its path.

    Raises:
        StoreError: the file cannot be written; an earlier one is as it was.
    """
    return write_document(render_finding_page(page), path)


def render_finding_page(page: FindingPage) -> str:
    """Return the page as HTML text (under 1 MB).

    Example:
        >>> empty = FindingPage("t", "h", (), (), (), (), (), (), (), "wingbeat", "0")
        >>> "This page needs no network" in render_finding_page(empty)
        True
    """
    sections = [
        Section(i, t, tuple(drawn(f, f"{i}-{k + 1}") for k, f in enumerate(figures)))
        for i, t, figures in page.sections
    ]
    return render_document(
        "finding_page.html", sections, page=page, alarms=page.alarms, version=page.version
    )


def as_markdown(page: FindingPage) -> str:
    """Return what the page says, with its tables and without its figures, as Markdown."""
    parts = [f"# Study: {page.title}", page.question, f"**{page.headline}**", page.remarks]
    parts += [f"Command: `{page.command}`"]
    parts += [f"**Read this first.** {text}" for text in page.alarms]
    parts += page.intro
    if page.claims:
        heads = ("claim", "published", "measured here", "verdict")
        rows = ((c.named, c.published, c.measured, f"**{c.verdict}**") for c in page.claims)
        parts += ["## Claims", markdown(Table(heads, tuple(rows)))]
        parts.append("\n".join(f"- {c.named} {c.note}" for c in page.claims if c.note))
    facts = (f"- {name}: {value}" + f" ({why})" * bool(why) for name, value, why in page.facts)
    parts.append("\n".join(facts))
    for _, heading, table in page.tables:
        parts += [f"## {heading}", markdown(table)]
    parts += ["## What was asked", markdown(Table(("name", "value"), page.asked))]
    parts += ["## Definitions", *(f"**{term}.** {meaning}" for term, meaning in page.definitions)]
    return "\n\n".join(filter(None, parts)) + "\n"
