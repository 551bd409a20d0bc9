"""The page of the spawn-and-perturb study: a checked page whose figures may be maps of cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.report.cell_map import CellMap, cell_map_spec
from wingbeat.report.document import render_document, write_document
from wingbeat.report.draw_plotly import spec
from wingbeat.report.figures import Group, LineFigure, groups
from wingbeat.report.shown import Section, Shown, key_entries
from wingbeat.report.study_draw import study_spec
from wingbeat.report.study_figures import DotFigure
from wingbeat.report.style import GUIDE_STYLE

if TYPE_CHECKING:
    from wingbeat.report.checked_page import CheckedPage
    from wingbeat.report.plotly_parts import Spec
    from wingbeat.zoo.butterfly_figures import ButterflyFigure, Sections


def write_page(page: CheckedPage, drawn: Sections, path: str | Path) -> Path:
    """Write the page, replacing an earlier one in one step, and return its path.

    Args:
        page: everything but the figures; its own sections are not shown.
        drawn: identifier, heading and figures of each part.
        path: of the file.
    """
    return write_document(render(page, drawn), path)


def render(page: CheckedPage, drawn: Sections) -> str:
    """Return the page as HTML text (about 5 MB: plotly.js is inlined once)."""
    shown = tuple(
        Section(ident, title, tuple(_shown(f"fig-{ident}-{i + 1}", f) for i, f in enumerate(found)))
        for ident, title, found in drawn
    )
    return render_document(
        "checked_page.html", shown, page=page, alarms=page.alarms, version=page.version
    )


def _shown(ident: str, figure: ButterflyFigure) -> Shown:
    return Shown(
        ident=ident,
        title=figure.title,
        caption=figure.caption,
        note=figure.note if isinstance(figure, LineFigure) else "",
        key=key_entries(_groups(figure)),
        spec=None if figure.empty else _spec(figure),
        three=False,
    )


def _spec(figure: ButterflyFigure) -> Spec:
    if isinstance(figure, CellMap):
        return cell_map_spec(figure)
    return spec(figure) if isinstance(figure, LineFigure) else study_spec(figure)


def _groups(figure: ButterflyFigure) -> tuple[Group, ...]:
    """Return the entries of a figure's key; the cells of a map carry their own words."""
    if isinstance(figure, LineFigure):
        return groups(figure)
    if not isinstance(figure, DotFigure):
        return ()
    entries = [Group(d.group, d.style, "", marked=True) for d in figure.dots]
    entries += [Group(guide.name, GUIDE_STYLE, "", marked=False) for guide in figure.guides]
    return tuple(dict.fromkeys(entries))
