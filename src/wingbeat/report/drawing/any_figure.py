"""Any figure as a page shows it, whatever page it stands on."""

from __future__ import annotations

from wingbeat.report.drawing.plotly.cells import cell_map_spec
from wingbeat.report.drawing.plotly.curves import spec
from wingbeat.report.drawing.plotly.marks import study_spec
from wingbeat.report.drawing.plotly.parts import Spec
from wingbeat.report.drawing.rendered import RenderedFigure, key_entries
from wingbeat.report.figures.cell_map import CellMap
from wingbeat.report.figures.marks import BoxFigure, DotFigure
from wingbeat.report.figures.records import Figure, FigureGroup, LineFigure, groups
from wingbeat.report.figures.style import GUIDE_STYLE

AnyFigure = Figure | DotFigure | BoxFigure | CellMap


def drawn(figure: AnyFigure, ident: str) -> RenderedFigure:
    """Return a figure as its page shows it, under an identifier of its own.

    Curves keep the words of their own x axis; see `study_draw.study_spec` for those over epochs.
    """
    return RenderedFigure(
        ident=f"fig-{ident}",
        title=figure.title,
        caption=figure.caption,
        note=figure.note if isinstance(figure, LineFigure) else "",
        key=key_entries(_key(figure)),
        spec=None if figure.empty else _spec(figure),
        three=figure.key == "trajectories_3d",
    )


def _spec(figure: AnyFigure) -> Spec:
    if isinstance(figure, CellMap):
        return cell_map_spec(figure)
    return study_spec(figure) if isinstance(figure, DotFigure | BoxFigure) else spec(figure)


def _key(figure: AnyFigure) -> tuple[FigureGroup, ...]:
    """Return the entries of a figure's key; the cells of a map carry their own words."""
    if isinstance(figure, CellMap):
        return ()
    if not isinstance(figure, DotFigure | BoxFigure):
        return groups(figure)
    dots = figure.dots if isinstance(figure, DotFigure) else ()
    entries = [FigureGroup(dot.group, dot.style, "", marked=True) for dot in dots]
    entries += [FigureGroup(guide.name, GUIDE_STYLE, "", marked=False) for guide in figure.guides]
    return tuple(dict.fromkeys(entries))
