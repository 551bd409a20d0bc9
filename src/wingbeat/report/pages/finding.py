"""A page for any study: a finding, figures under headings, tables, what was asked, definitions."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.report.drawing.any_figure import drawn
from wingbeat.report.drawing.rendered import Section
from wingbeat.report.figures.marks import StudyFigure
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.document import render_document, write_document
from wingbeat.study.verdicts import Claim

if TYPE_CHECKING:
    from wingbeat.study.analysis import Analysis, PageContent
    from wingbeat.study.outcome import StudyResult


@dataclass(frozen=True)
class FindingPage:
    """Everything that the page of a study shows.

    Attributes:
        title: of the study.
        headline: its finding in one sentence.
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
    """

    title: str
    headline: str
    alarms: tuple[str, ...]
    facts: tuple[tuple[str, str, str], ...]
    intro: tuple[str, ...]
    sections: tuple[tuple[str, str, tuple[StudyFigure, ...]], ...]
    tables: tuple[tuple[str, str, Table], ...]
    asked: tuple[tuple[str, str], ...]
    definitions: tuple[tuple[str, str], ...]
    command: str
    version: str
    claims: tuple[Claim, ...] = ()


def page_of(title: str, content: PageContent, found: Analysis, command: str) -> FindingPage:
    """Return the page of a study that has been run.

    Args:
        title: of the study.
        content: its own words, figures and tables.
        found: its conditions and claims.
        command: that runs it again.
    """
    return FindingPage(
        title=title,
        headline=content.headline,
        alarms=(*content.alarms, *_left(found.study)),
        facts=content.facts,
        intro=content.intro,
        sections=tuple(content.sections),
        tables=tuple(content.tables),
        asked=tuple(_executed(found.study)),
        definitions=tuple(content.definitions.items()),
        command=command,
        version=version("wingbeat"),
        claims=found.claims,
    )


def _left(study: StudyResult) -> list[str]:
    """Return what was given up and what is not done yet, a sentence each."""
    said = [f"Condition {r.key} was given up ({r.status}): {r.error}" for r in study.failures]
    missing = int((study.conditions["status"] == "not run").sum())
    return said + (
        [f"{missing} conditions are not done: run the same command again."] * (missing > 0)
    )


def _executed(study: StudyResult) -> list[tuple[str, str]]:
    rows = []
    for column in ("factory", "arguments", "dtype", "driver"):
        values = dict.fromkeys(str(v) for v in study.conditions[column])
        shown = list(values)[:3] + (["…"] if len(values) > 3 else [])
        rows.append((column, "; ".join(shown)))
    for name in ("wingbeat", "torch", "python", "platform", "processor"):
        found = dict.fromkeys(str(e.get(name, "")) for e in study.environments.values())
        rows.append((name, ", ".join(found)))
    return rows


def write_finding_page(page: FindingPage, path: str | Path) -> Path:
    """Write the page, replacing an earlier one in one step, and return its path.

    Raises:
        OSError: the file cannot be written.
    """
    return write_document(render_finding_page(page), path)


def render_finding_page(page: FindingPage) -> str:
    """Return the page as HTML text (about 5 MB: plotly.js is inlined once).

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
