"""One self-contained HTML page for a study, in the style of a run's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wingbeat.report.drawing.plotly.marks import study_spec
from wingbeat.report.drawing.rendered import RenderedFigure, Section, key_entries
from wingbeat.report.figures.marks import BoxFigure, DotFigure, StudyFigure
from wingbeat.report.figures.records import FigureGroup, LineFigure, groups
from wingbeat.report.figures.style import GUIDE_STYLE
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.document import render_document, write_document


@dataclass(frozen=True)
class ClaimRow:
    """One claim: what was said, what is measured, and for each definition value and verdict."""

    text: str
    quantity: str
    note: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StudyPage:
    """Everything that the page of a study shows.

    Attributes:
        title: of the study.
        headline: its finding in one sentence.
        alarms: what to read first: stand-ins, failures, a noise floor above 0.
        facts: name, value and what stands below it.
        intro: paragraphs on what was done.
        master: the master table.
        nets: the table of architectures.
        definition_table: families and architectures under each definition of spread.
        claim_heads: names of the definitions.
        claims: the article's claims.
        sections: identifier, heading and figures.
        asked: path and text of what was asked and of how it was executed.
        definitions: term and meaning.
        command: the exact command.
        version: of wingbeat.
    """

    title: str
    headline: str
    alarms: tuple[str, ...]
    facts: tuple[tuple[str, str, str], ...]
    intro: tuple[str, ...]
    master: Table
    nets: Table
    definition_table: Table
    claim_heads: tuple[str, ...]
    claims: tuple[ClaimRow, ...]
    sections: tuple[tuple[str, str, tuple[StudyFigure, ...]], ...]
    asked: tuple[tuple[str, str], ...]
    definitions: tuple[tuple[str, str], ...]
    command: str
    version: str


def write_study_page(page: StudyPage, path: str | Path) -> Path:
    """Write the page of a study, replacing an earlier one in one step, and return its path."""
    return write_document(render_study_page(page), path)


def render_study_page(page: StudyPage) -> str:
    """Return the page of a study as HTML text (about 5 MB: plotly.js is inlined once)."""
    sections = tuple(Section(i, t, _shown(i, figures)) for i, t, figures in page.sections)
    return render_document(
        "study_page.html", sections, page=page, alarms=page.alarms, version=page.version
    )


def _shown(ident: str, figures: Sequence[StudyFigure]) -> tuple[RenderedFigure, ...]:
    return tuple(
        RenderedFigure(
            ident=f"fig-{ident}-{place + 1}",
            title=figure.title,
            caption=figure.caption,
            note="",
            key=key_entries(_groups(figure)),
            spec=None if figure.empty else study_spec(figure),
            three=False,
        )
        for place, figure in enumerate(figures)
    )


def _groups(figure: StudyFigure) -> tuple[FigureGroup, ...]:
    """Return the entries of a figure's key; names on an axis need none."""
    if isinstance(figure, LineFigure):
        return groups(figure)
    found = []
    if isinstance(figure, DotFigure):
        found = [FigureGroup(d.group, d.style, "", marked=True) for d in figure.dots]
    if isinstance(figure, DotFigure | BoxFigure):
        found += [FigureGroup(guide.name, GUIDE_STYLE, "", marked=False) for guide in figure.guides]
    return tuple(dict.fromkeys(found))
