"""The page of a run: what was found, what it means, and every figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from wingbeat.report.drawing.any_figure import AnyFigure, drawn
from wingbeat.report.drawing.rendered import RenderedFigure, Section
from wingbeat.report.figures import curves, maps
from wingbeat.report.figures.alignment import alignment_figures
from wingbeat.report.figures.barriers import barrier_figures
from wingbeat.report.figures.ensembles import gain_against_diversity
from wingbeat.report.figures.losses import losses, replica_metrics
from wingbeat.report.figures.records import MOST_FAMILIES
from wingbeat.report.figures.representations import representation_figures
from wingbeat.report.figures.sensitivity import sensitivity_figures
from wingbeat.report.figures.small_multiples import split
from wingbeat.report.pages.document import render_document, write_document
from wingbeat.report.pages.page_text import texts
from wingbeat.report.result_access import ResultLike, names

_COMPONENTS = ((0, 1), (0, 2))
_FIRST = 300
"""Height of the first figure, in pixels: with the table above it, it fits one screen."""
_FOLDED = ("projection",)


def write_page(result: ResultLike, path: str | Path) -> Path:
    """Write the page of a result to a file and return its path.

    Args:
        result: what to show.
        path: the file, usually ``report.html``; its folder must exist. An existing
            file is replaced in one step.

    Raises:
        StoreError: the file cannot be written; an earlier one is as it was.
    """
    return write_document(render_page(result), path)


def render_page(result: ResultLike) -> str:
    """Return the page of a result as HTML text (under 1 MB: plotly.js is in it, compressed)."""
    lead = first_figure(result)
    sections = tuple(s for s in _sections(result) if s.figures)
    first = (Section("first", "", (lead,)),) if lead else ()
    return render_document("page.html", (*first, *sections), lead=lead, **texts(result))


def first_figure(result: ResultLike) -> RenderedFigure | None:
    """Return the figure of the first screen: how the copies' spread changes, all in one."""
    found = curves.spread_figure(result) or curves.distance(result)
    if found is None:
        return None
    if split(found):  # many bands on one another show nothing: they stand below, one drawing each
        bare = tuple(replace(x, low=None, high=None) for x in found.lines)
        found = replace(found, lines=bare, caption=f"{found.caption} Bands: see How far apart.")
    return drawn(found, "first", height=_FIRST)


def _sections(result: ResultLike) -> Iterator[Section]:
    maps_ = maps.layers_of_all(result, names(result)[:MOST_FAMILIES])
    plan: tuple[tuple[str, str, tuple[AnyFigure | None, ...]], ...] = (
        ("apart", "How far apart", _apart(result)),
        ("when", "When they part", (curves.local_lyapunov(result),)),
        ("where", "Where they go", tuple(maps.trajectories(result, c) for c in _COMPONENTS)),
        (
            "function",
            "What they do",
            (
                *(losses(result, m) for m in replica_metrics(result)),
                gain_against_diversity(result),
            ),
        ),
        ("represent", "What they represent", representation_figures(result)),
        (
            "between",
            "What lies between them",
            (*barrier_figures(result), *sensitivity_figures(result)),
        ),
        ("aligned", "With units permuted onto each other", alignment_figures(result)),
        ("layers", "Layer by layer", maps_),
        (
            "projection",
            "Full space and projection",
            (curves.projected_ratio(result), curves.projected_share(result)),
        ),
    )
    for ident, title, found in plan:
        kept = [f for f in found if f is not None]
        figures = tuple(drawn(f, f"{ident}-{i + 1}") for i, f in enumerate(kept))
        yield Section(ident, title, figures, folded=ident in _FOLDED)


def _apart(result: ResultLike) -> tuple[AnyFigure | None, ...]:
    """Return the figures on distances that the first screen does not show already."""
    spread, distance = curves.spread_figure(result), curves.distance(result)
    shown = distance if spread is None else spread
    return tuple(f for f in (spread, distance) if f is not None and (f is not shown or split(f)))
