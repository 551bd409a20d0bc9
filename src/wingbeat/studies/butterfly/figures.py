"""The figures of the spawn-and-perturb study."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final, cast

import pandas as pd

from wingbeat.report.drawing.any_figure import AnyFigure
from wingbeat.report.figures.barriers import basin_tree
from wingbeat.report.figures.cell_map import CellMap
from wingbeat.report.figures.estimates import dot, estimate_text
from wingbeat.report.figures.marks import Dot, DotFigure
from wingbeat.report.figures.records import Line, LineFigure
from wingbeat.report.prose import floor_text, number
from wingbeat.report.result_access import ResultLike
from wingbeat.studies.butterfly.beyond import aligned, by_layer, ensembles
from wingbeat.studies.butterfly.found import (
    QUANTITIES,
    ButterflyFindings,
    band,
    cell_words,
    estimate_of,
    of_cell,
    records,
)
from wingbeat.studies.butterfly.grid import Cell
from wingbeat.studies.butterfly.growth import law_figure

Sections = tuple[tuple[str, str, tuple[AnyFigure, ...]], ...]
INTERVAL: Final = "Bars are 95 % intervals over replicas, nested in base seeds."
MAPPED: Final = ("barrier_train", "barrier_test", "disagreement")
UNITS: Final = {
    "barrier_train": "barrier (units of the loss)",
    "barrier_test": "barrier on test data (units of the loss)",
    "disagreement": "share of test samples",
    "l2": "L2 distance at the end (weight units)",
}


def sections(found: ButterflyFindings) -> Sections:
    """Return identifier, heading and figures of each part of the page; empty parts are left out."""
    cells = found.cells
    parts: list[tuple[str, str, list[AnyFigure]]] = [
        ("maps", "Time against size", maps(cells)),
        (
            "growth",
            "Growth with the perturbation and with time",
            growth(cells, found.noise_floor) + paths(found) + _laws(found),
        ),
        ("interventions", "Interventions side by side", side_by_side(cells)),
        ("curves", "Between the ends", curves(found) + dendrogram(found)),
        ("aligned", "With units permuted onto each other", aligned(found)),
        ("represent", "What they represent", by_layer(found, drawn_cells(found))),
        ("ensembles", "What an ensemble gains", ensembles(found)),
    ]
    drawn = [(i, t, tuple(f for f in figures if not f.empty)) for i, t, figures in parts]
    return tuple(part for part in drawn if part[2])


def maps(cells: pd.DataFrame) -> list[AnyFigure]:
    """Return a map of time by size for each intervention, kind and quantity that has several."""
    found: list[AnyFigure] = []
    for (intervention, kind), own in cells.groupby(["intervention", "kind"], sort=False):
        if own["time"].nunique() * own["size"].nunique() < 2:
            continue
        for quantity in MAPPED:
            rows = own[own["quantity"] == quantity]
            if len(rows):
                found.append(_map(rows, str(intervention), str(kind), quantity))
    return found


def _map(rows: pd.DataFrame, intervention: str, kind: str, quantity: str) -> CellMap:
    times, sizes = sorted(rows["time"].unique()), sorted(rows["size"].unique())
    there = {(row.size, row.time): row for row in records(rows)}

    def cell(size: float, time: float) -> tuple[float, str, str]:
        row: Any = there.get((size, time))
        if row is None:
            return float("nan"), "", ""
        said = f"{cell_words(row)}: {estimate_text(estimate_of(row))}"
        return row.value, "undefined" if row.reason else number(row.value, 2), said

    grid = [[cell(size, time) for time in times] for size in sizes]
    return CellMap(
        key=f"map_{quantity}",
        title=f"{QUANTITIES[quantity].capitalize()}: {kind}, {intervention}",
        caption="Mean over replicas and base seeds, between replica and reference at the end of "
        "training; point at a cell for its 95 % interval. Sizes are relative to initialisation. "
        f"{floor_text(float(rows['noise_floor'].max())).capitalize()} (L2).",
        x_label="time of the perturbation, share of training",
        y_label="weights changed" if kind == "ulp" else "relative size",
        columns=tuple(f"{100 * t:g} %" for t in times),
        rows=tuple(f"{s:g}" for s in sizes),
        values=tuple(tuple(c[0] for c in row) for row in grid),
        texts=tuple(tuple(c[1] for c in row) for row in grid),
        hovers=tuple(tuple(c[2] for c in row) for row in grid),
        value_label=UNITS[quantity],
    )


def growth(cells: pd.DataFrame, floor: float = 0.0) -> list[AnyFigure]:
    """Return barrier and L2 at the end against the perturbation's own L2, a group for each time."""
    own = cells[cells["intervention"] == "standard"]
    places = own[own["quantity"] == "l2_start"].set_index(["kind", "size", "time"])["value"]
    found: list[AnyFigure] = []
    for quantity, words in (("barrier_train", "barrier"), ("l2", "distance")):
        rows = own[own["quantity"] == quantity]
        times = sorted(rows["time"].unique())
        dots = tuple(
            _dot(row, float(places[key]), f"{100 * row.time:g} %", times.index(row.time))
            for row in records(rows)
            if (key := (row.kind, row.size, row.time)) in places.index and places[key] > 0
        )
        found.append(
            DotFigure(
                key=f"growth_{quantity}",
                title=f"How the {words} at the end grows with the perturbation",
                caption=f"All kinds of the standard recipe; a colour for each time. {INTERVAL} "
                f"{floor_text(floor).capitalize()} (L2).",
                place_label="L2 norm of the perturbation (weight units)",
                value_label=UNITS[quantity],
                dots=dots,
                log_place=True,
                log_value=quantity == "l2",
            )
        )
    return found


def _dot(row: Any, place: float, group: str, style: int) -> Dot:
    return dot(place, estimate_of(row), group, style, cell_words(row))


def paths(found: ButterflyFindings) -> list[AnyFigure]:
    """Return L2 and barrier over training, a line for each time of perturbation, of one size."""
    size = _middle(found)
    lines: dict[str, list[Line]] = {"l2": [], "barrier_train": []}
    for style, cell in enumerate(c for c in found.plan.cells if (c.kind, c.size) == size):
        own = _plain(of_cell(found, cell.name))
        for metric, drawn in lines.items():
            rows = own[(own["metric"] == metric) & (own["a"] == "reference")]
            if len(rows) and (metric == "l2" or rows["step"].min() < rows["step"].max()):
                drawn.append(_line(rows, "step", f"{100 * cell.time:g} %", style))
    texts = {
        "l2": ("Distance from the reference over training", "L2 distance (weight units)"),
        "barrier_train": ("Barrier to the reference over training", UNITS["barrier_train"]),
    }
    return [
        LineFigure(
            key=f"path_{metric}",
            title=f"{texts[metric][0]}: {size[0]} {size[1]:g}",
            caption="Standard recipe; median over replicas and base seeds with the whole range; a "
            f"line for each time of perturbation. {floor_text(found.noise_floor).capitalize()} "
            "(L2).",
            x_label="step (optimizer updates)",
            y_label=texts[metric][1],
            lines=tuple(drawn),
            log_y=metric == "l2",
        )
        for metric, drawn in lines.items()
        if drawn
    ]


def _laws(found: ButterflyFindings) -> list[AnyFigure]:
    """Return how the laws of growth fit the first of the drawn cells."""
    return [drawn for cell in drawn_cells(found)[:1] for drawn in law_figure(found.table, cell)]


def curves(found: ButterflyFindings) -> list[AnyFigure]:
    """Return the loss on the line between reference and replica above its chord, by time.

    Above the chord, since what base seeds reach differs by more than many a barrier.
    """
    lines = []
    for style, cell in enumerate(drawn_cells(found)):
        own = of_cell(found, cell.name)
        rows = own[own["metric"] == "line_loss_train"]
        if len(rows):
            name = f"{cell.kind} {cell.size:g}, {100 * cell.time:g} %"
            lines.append(_line(_above_chord(rows), "alpha", name, style))
    return [
        LineFigure(
            key="curves",
            title="Training loss between the reference (α = 0) and the replicas (α = 1)",
            caption="Less the straight line between both losses, so that the highest point is the "
            "barrier. Standard recipe, at the end of training; median over replicas and base seeds "
            f"with the whole range. {floor_text(found.noise_floor).capitalize()} (L2).",
            x_label="α",
            y_label="loss above the line (units of the loss)",
            lines=tuple(lines),
        )
    ]


def _above_chord(rows: pd.DataFrame) -> pd.DataFrame:
    """Return curves over α less the chord between their ends, with a column ``alpha``."""
    alphas = rows["layer"].str.removeprefix("alpha=").astype(float)
    rows = rows.assign(alpha=alphas).sort_values("alpha", kind="stable")
    values = rows.groupby(["key", "b"])["value"]
    first, last = values.transform("first"), values.transform("last")
    return rows.assign(value=rows["value"] - first - rows["alpha"] * (last - first))


def dendrogram(found: ButterflyFindings) -> list[AnyFigure]:
    """Return the tree of basins of the first base seed, where all pairs were measured."""
    own = found.table[found.table["intervention"] == "standard"]
    if not len(own):
        return []
    first = found.plan.base_seeds[0]
    view = SimpleNamespace(table=own[own["seed"] == first])
    drawn = basin_tree(cast("ResultLike", view))
    return [] if drawn is None else [drawn]


def side_by_side(cells: pd.DataFrame) -> list[AnyFigure]:
    """Return the barriers of each intervention by time, averaged over kinds and sizes."""
    own = cells[(cells["quantity"] == "barrier_train") & (cells["kind"] != "single")]
    names = list(dict.fromkeys(own["intervention"]))
    if len(names) < 2:
        return []
    times = sorted(own["time"].unique())
    dots = tuple(
        _dot(row, float(names.index(row.intervention)), f"{100 * row.time:g} %", place)
        for row in records(own)
        if (place := times.index(row.time)) >= 0
    )
    return [
        DotFigure(
            key="interventions",
            title="Barrier under each intervention",
            caption=f"One dot for each kind, size and time; a colour for each time. {INTERVAL}",
            place_label="",
            value_label=UNITS["barrier_train"],
            dots=dots,
            rows=tuple(names),
        )
    ]


def _middle(found: ButterflyFindings) -> tuple[str, float]:
    """Return the kind and the size that are drawn where only one can be: the middle size."""
    kinds = [c.kind for c in found.plan.cells]
    kind = "gaussian" if "gaussian" in kinds else kinds[0]
    sizes = sorted({c.size for c in found.plan.cells if c.kind == kind})
    return kind, sizes[len(sizes) // 2]


def drawn_cells(found: ButterflyFindings) -> list[Cell]:
    """Return the cells that are drawn where not all can be: the middle size, and single weights."""
    size = _middle(found)
    return [c for c in found.plan.cells if (c.kind, c.size) == size or c.kind == "single"]


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["layer"] == ""]


def _line(rows: pd.DataFrame, along: str, name: str, style: int) -> Line:
    x, y, a, b = band(rows, along)
    return Line(name, name, style, x, y, a, b, marked=len(x) <= 12)
