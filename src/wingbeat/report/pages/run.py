"""The page of a run: what was found, what it means, and every figure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wingbeat.report.drawing.any_figure import AnyFigure, drawn
from wingbeat.report.drawing.rendered import Section
from wingbeat.report.figures import curves, maps
from wingbeat.report.figures.alignment import alignment_figures
from wingbeat.report.figures.barriers import barrier_figures
from wingbeat.report.figures.ensembles import gain_against_diversity
from wingbeat.report.figures.losses import losses, replica_metrics
from wingbeat.report.figures.records import MOST_FAMILIES
from wingbeat.report.figures.representations import representation_figures
from wingbeat.report.figures.sensitivity import sensitivity_figures
from wingbeat.report.pages.document import render_document, write_document
from wingbeat.report.pages.page_text import texts
from wingbeat.report.result_access import ResultLike, names

_COMPONENTS = ((0, 1), (0, 1, 2))


def write_page(result: ResultLike, path: str | Path) -> Path:
    """Write the page of a result to a file and return its path.

    Args:
        result: what to show.
        path: the file, usually ``report.html``; its folder must exist. An existing
            file is replaced in one step.

    Raises:
        OSError: the file cannot be written.
    """
    return write_document(render_page(result), path)


def render_page(result: ResultLike) -> str:
    """Return the page of a result as HTML text (about 5 MB: plotly.js is inlined once)."""
    sections = tuple(s for s in _sections(result) if s.figures)
    return render_document("page.html", sections, **texts(result))


def _sections(result: ResultLike) -> Iterator[Section]:
    chosen = names(result)[:MOST_FAMILIES]
    maps_ = [maps.layers(result, name) for name in chosen]
    plan: tuple[tuple[str, str, tuple[AnyFigure | None, ...]], ...] = (
        ("apart", "How far apart", (curves.spread_figure(result), curves.distance(result))),
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
        ("layers", "Layer by layer", tuple(maps_)),
        (
            "projection",
            "Full space and projection",
            (curves.projected_ratio(result), curves.projected_share(result)),
        ),
    )
    for ident, title, found in plan:
        kept = [f for f in found if f is not None]
        yield Section(ident, title, tuple(drawn(f, f"{ident}-{i + 1}") for i, f in enumerate(kept)))
