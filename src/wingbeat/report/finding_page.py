"""A page for any study: a finding, figures under headings, tables, what was asked, definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wingbeat.report.document import render_document, write_document
from wingbeat.report.draw_plotly import spec
from wingbeat.report.figures import Group, LineFigure, groups
from wingbeat.report.shown import Section, Shown, key_entries
from wingbeat.report.study_draw import study_spec
from wingbeat.report.study_figures import DotFigure, StudyFigure
from wingbeat.report.study_page import Table
from wingbeat.report.style import GUIDE_STYLE


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
    sections = [Section(i, t, _shown(i, figures)) for i, t, figures in page.sections]
    return render_document(
        "finding_page.html", sections, page=page, alarms=page.alarms, version=page.version
    )


def _shown(ident: str, figures: Sequence[StudyFigure]) -> tuple[Shown, ...]:
    return tuple(
        Shown(
            ident=f"fig-{ident}-{place + 1}",
            title=figure.title,
            caption=figure.caption,
            note="",
            key=key_entries(_groups(figure)),
            # The lines of a study file count epochs; those here count what their axis says.
            spec=None
            if figure.empty
            else (spec(figure) if isinstance(figure, LineFigure) else study_spec(figure)),
            three=False,
        )
        for place, figure in enumerate(figures)
    )


def _groups(figure: StudyFigure) -> tuple[Group, ...]:
    if isinstance(figure, LineFigure):
        return groups(figure)
    found = []
    if isinstance(figure, DotFigure):
        found = [Group(d.group, d.style, "", marked=True) for d in figure.dots]
    found += [Group(guide.name, GUIDE_STYLE, "", marked=False) for guide in figure.guides]
    return tuple(dict.fromkeys(found))
