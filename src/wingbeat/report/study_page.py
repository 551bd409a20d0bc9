"""One self-contained HTML page for a study, in the style of a run's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from wingbeat.report.draw_plotly import theme_colours
from wingbeat.report.figures import Group, LineFigure, groups
from wingbeat.report.page import (
    Section,
    Shown,
    _key_entry,
    _policy,
    _text,
    _theme_css,
    script_json,
)
from wingbeat.report.study_draw import study_spec
from wingbeat.report.study_figures import BoxFigure, DotFigure, StudyFigure
from wingbeat.report.style import GUIDE_STYLE, THEMES

_CSS = """
.claims { font-size: .86rem; }
.claims small { display: block; color: var(--c-muted); font: .8rem/1.45 var(--sans); }
.claims strong { display: block; }
.claims td { min-width: 7.6rem; }
.cards th, .cards td { overflow-wrap: normal; }
.claims th { font-weight: 400; max-width: 24rem; }
td.number { font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
h3.table { margin-top: 2.2rem; }
"""


@dataclass(frozen=True)
class Table:
    """A table of words: the first cell of each row names it."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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
    target = Path(path)
    beside = target.with_name(f".{target.name}.part")
    beside.write_bytes(render_study_page(page).encode("utf-8", errors="replace"))
    return beside.replace(target)


def render_study_page(page: StudyPage) -> str:
    """Return the page of a study as HTML text (about 5 MB: plotly.js is inlined once)."""
    from plotly.offline import get_plotlyjs

    plotly, program = f"\n{get_plotlyjs()}\n", f"\n{_text('page.js')}"
    sections = tuple(Section(i, t, _shown(i, figures)) for i, t, figures in page.sections)
    drawn = [f for s in sections for f in s.figures if f.spec is not None]
    payload = {
        "themes": {name: theme_colours(name) for name in THEMES},
        "figures": [{"id": f.ident, "three": False, "spec": f.spec} for f in drawn],
    }
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("study_page.html").render(
        # These three are files of this package and of plotly, never data of the study.
        css=Markup(_theme_css() + _text("page.css") + _CSS),  # noqa: S704
        plotly=Markup(plotly),  # noqa: S704
        program=Markup(program),  # noqa: S704
        policy=_policy(plotly, program),
        payload=script_json(payload),
        sections=sections,
        page=page,
    )


def _shown(ident: str, figures: Sequence[StudyFigure]) -> tuple[Shown, ...]:
    return tuple(
        Shown(
            ident=f"fig-{ident}-{place + 1}",
            title=figure.title,
            caption=figure.caption,
            note="",
            key=tuple(_key_entry(group) for group in _groups(figure)),
            spec=None if figure.empty else study_spec(figure),
            three=False,
        )
        for place, figure in enumerate(figures)
    )


def _groups(figure: StudyFigure) -> tuple[Group, ...]:
    """Return the entries of a figure's key; names on an axis need none."""
    if isinstance(figure, LineFigure):
        return groups(figure)
    found = []
    if isinstance(figure, DotFigure):
        found = [Group(d.group, d.style, "", marked=True) for d in figure.dots]
    if isinstance(figure, DotFigure | BoxFigure):
        found += [Group(guide.name, GUIDE_STYLE, "", marked=False) for guide in figure.guides]
    return tuple(dict.fromkeys(found))
