"""Any figure as a page shows it, whatever page it stands on."""

from __future__ import annotations

from wingbeat.report.drawing.plotly.cells import cell_map_spec
from wingbeat.report.drawing.plotly.curves import spec
from wingbeat.report.drawing.plotly.graph import graph_spec
from wingbeat.report.drawing.plotly.marks import study_spec
from wingbeat.report.drawing.plotly.parts import Spec
from wingbeat.report.drawing.rendered import RenderedFigure, RenderedPanel, key_entries
from wingbeat.report.figures.cell_map import CellMap
from wingbeat.report.figures.graph import GraphFigure
from wingbeat.report.figures.marks import BoxFigure, DotFigure
from wingbeat.report.figures.records import Figure, FigureGroup, LineFigure, groups
from wingbeat.report.figures.small_multiples import split
from wingbeat.report.figures.style import GUIDE_STYLE

PANEL = 220
"""Height of a small multiple, in pixels."""

AnyFigure = Figure | DotFigure | BoxFigure | CellMap | GraphFigure


def drawn(figure: AnyFigure, ident: str, *, height: int | None = None) -> RenderedFigure:
    """Return a figure as its page shows it, under an identifier of its own.

    Curves of many perturbations become small multiples: see `small_multiples`. A ``height`` in
    pixels replaces that of its kind.

    Curves keep the words of their own x axis; see `study_draw.study_spec` for those over epochs.
    """
    parts = split(figure) if isinstance(figure, LineFigure) else ()
    own = [(f"fig-{ident}", "", figure)]
    several = [(f"fig-{ident}-{i + 1}", title, part) for i, (title, part) in enumerate(parts)]
    return RenderedFigure(
        ident=f"fig-{ident}",
        title=figure.title,
        caption=figure.caption,
        note=figure.note if isinstance(figure, LineFigure) else "",
        key=key_entries(_key(figure, of_all_panels=bool(parts))),
        panels=tuple(
            RenderedPanel(name, title, _spec(part, PANEL if title else height))
            for name, title, part in several or own
            if not part.empty
        ),
    )


def _spec(figure: AnyFigure, height: int | None) -> Spec:
    if isinstance(figure, CellMap):
        return cell_map_spec(figure)
    if isinstance(figure, GraphFigure):
        return graph_spec(figure)
    found = study_spec(figure) if isinstance(figure, DotFigure | BoxFigure) else spec(figure)
    if height:
        found["layout"]["height"] = height
    if height == PANEL:
        found["layout"]["font"]["size"] = 11
        along = found["layout"]["xaxis"]["title"]
        along["text"] = _short(along["text"])
        found["layout"]["yaxis"]["title"]["text"] = ""
    return found


def _short(words: str) -> str:
    """Return the words of an axis without its unit.

    >>> _short("step (optimizer updates)")
    'step'
    """
    return words.partition(" (")[0]


def _key(figure: AnyFigure, *, of_all_panels: bool) -> tuple[FigureGroup, ...]:
    """Return the entries of a figure's key; the cells of a map and graphs carry their own words.

    A panel's title names what is its own, so that only what all panels share is left.
    """
    if isinstance(figure, CellMap | GraphFigure):
        return ()
    if not isinstance(figure, DotFigure | BoxFigure):
        found = groups(figure)
        return tuple(e for e in found if e.style < 0) if of_all_panels else found
    dots = figure.dots if isinstance(figure, DotFigure) else ()
    entries = [FigureGroup(dot.group, dot.style, "", marked=True) for dot in dots]
    entries += [FigureGroup(guide.name, GUIDE_STYLE, "", marked=False) for guide in figure.guides]
    return tuple(dict.fromkeys(entries))
