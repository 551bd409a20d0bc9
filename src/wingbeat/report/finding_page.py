"""A page for any study: a finding, figures under headings, tables, what was asked, definitions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wingbeat.report.document import render_document, write_document
from wingbeat.report.drawn import drawn
from wingbeat.report.shown import Section
from wingbeat.report.study_figures import StudyFigure
from wingbeat.report.study_page import Table


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
