"""One self-contained HTML page for a study that holds a paper's claims against measurements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wingbeat.report.drawing.any_figure import AnyFigure, drawn
from wingbeat.report.drawing.rendered import Section
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.document import render_document, write_document


@dataclass(frozen=True)
class CheckedClaim:
    """One claim: what was published, what is measured here, and the verdict.

    Attributes:
        ident: for JSON.
        text: the claim.
        published: its value in the paper, or "".
        measured: value and interval here.
        verdict: one or two words, such as "holds".
        note: what has to be known to read it.
    """

    ident: str
    text: str
    published: str
    measured: str
    verdict: str
    note: str = ""


@dataclass(frozen=True)
class CheckedPage:
    """Everything that the page shows.

    Attributes:
        title: of the study.
        headline: its finding in one or two sentences.
        alarms: what to read first: failures, a quick study, a noise floor above 0.
        facts: name, value and what stands below it.
        intro: paragraphs above the claims.
        claims: claim by claim.
        sections: identifier, heading and figures.
        tables: heading and table.
        asked: name and text of what was asked and of how it was executed.
        definitions: term and meaning.
        files: what lies beside the page.
        command: the exact command.
        version: of wingbeat.
    """

    title: str
    headline: str
    alarms: tuple[str, ...]
    facts: tuple[tuple[str, str, str], ...]
    intro: tuple[str, ...]
    claims: tuple[CheckedClaim, ...]
    sections: tuple[tuple[str, str, tuple[AnyFigure, ...]], ...]
    tables: tuple[tuple[str, Table], ...]
    asked: tuple[tuple[str, str], ...]
    definitions: tuple[tuple[str, str], ...]
    files: str
    command: str
    version: str


def write_checked_page(page: CheckedPage, path: str | Path) -> Path:
    """Write the page, replacing an earlier one in one step, and return its path."""
    return write_document(render_checked_page(page), path)


def render_checked_page(page: CheckedPage) -> str:
    """Return the page as HTML text (about 5 MB: plotly.js is inlined once)."""
    sections = tuple(
        Section(i, t, tuple(drawn(f, f"{i}-{k + 1}") for k, f in enumerate(figures)))
        for i, t, figures in page.sections
    )
    return render_document(
        "checked_page.html", sections, page=page, alarms=page.alarms, version=page.version
    )
