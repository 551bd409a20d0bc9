"""Figures of the spawn-and-perturb study beyond distance and barrier: alignment, CKA, ensembles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from wingbeat.report.drawing.any_figure import AnyFigure
from wingbeat.report.figures.estimates import dot
from wingbeat.report.figures.marks import Dot, DotFigure
from wingbeat.report.figures.records import MOST_NAMES, Line, LineFigure
from wingbeat.report.prose import floor_text
from wingbeat.studies.butterfly.found import (
    ButterflyFindings,
    band,
    cell_words,
    estimate_of,
    of_cell,
    records,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.studies.butterfly.grid import Cell

BARS: Final = "Bars are 95 % intervals over replicas, nested in base seeds."
PAIRS: Final = (
    ("barrier_train", "barrier_aligned_train", "training-loss barrier (units of the loss)"),
    ("l2", "l2_aligned", "L2 distance at the end (weight units)"),
)
LOSS_GAIN: Final = "gain in test loss (units of the loss)"
APART: Final = 0.17
"""How far above and below its row each of two values stands."""


def aligned(found: ButterflyFindings) -> list[AnyFigure]:
    """Return barrier and L2 of every cell as they are and after alignment, side by side."""
    own = found.cells[found.cells["intervention"] == "standard"]
    figures: list[AnyFigure] = []
    for raw, matched, unit in PAIRS:
        both = own[own["quantity"].isin((raw, matched))]
        if not (both["quantity"] == matched).any():
            continue
        names = list(dict.fromkeys(_short(row) for row in records(both)))
        dots = tuple(
            _dot(row, names.index(_short(row)) + offset, group, style)
            for row in records(both)
            for offset, group, style in (
                (APART, "aligned", 1) if row.quantity == matched else (-APART, "as it is", 0),
            )
        )
        words = "barrier" if raw.startswith("barrier") else "distance"
        figures.append(
            DotFigure(
                key=f"aligned_{raw}",
                title=f"The {words} at the end, as it is and after alignment",
                caption="Standard recipe. Aligned: the replica's units are permuted onto its "
                f"reference's by weight matching. {BARS} {_floor(found)}",
                place_label="",
                value_label=unit,
                dots=dots,
                rows=tuple(names),
            )
        )
    return figures


def by_layer(found: ButterflyFindings, drawn: Sequence[Cell]) -> list[AnyFigure]:
    """Return the angle between representations at the end, layer by layer, a line a cell."""
    lines, layers = [], list[str]()
    for style, cell in enumerate(drawn):
        rows = of_cell(found, cell.name)
        rows = rows[(rows["metric"] == "angular_cka") & (rows["layer"] != "")]
        if not len(rows):
            continue
        rows = rows[rows["step"] == rows["step"].max()]
        layers = layers or [str(x) for x in dict.fromkeys(rows["layer"])]
        places = {layer: k for k, layer in enumerate(layers)}
        x, y, low, high = band(rows.assign(place=rows["layer"].map(places)), "place")
        name = f"{cell.kind} {cell.size:g}, {100 * cell.time:g} %"
        lines.append(Line(name, name, style, x, y, low, high, marked=len(x) <= MOST_NAMES))
    if not lines:
        return []
    return [
        LineFigure(
            key="cka_by_layer",
            title="How far each layer's representation turns",
            caption="Standard recipe, at the end: angle between replica and reference, arc cosine "
            "of debiased CKA on held-out samples; 0 = the same up to rotation, π/2 = unrelated. "
            f"Median over replicas and base seeds with the whole range. {_floor(found)}",
            x_label="layer, in the order of the model",
            y_label="angular CKA (radian)",
            lines=tuple(lines),
            names=tuple(layers),
        )
    ]


def ensembles(found: ButterflyFindings) -> list[AnyFigure]:
    """Return the gain of each cell's ensemble against its diversity, and against the CKA angle."""
    cells = found.cells
    times = sorted(cells["time"].unique())
    figures: list[AnyFigure] = []
    for quantity, label, words in (
        ("ensemble_diversity", "diversity (disagreement ÷ error rate)", "diversity"),
        ("angular_cka", "angular CKA, mean over layers (radian)", "the turn of representations"),
    ):
        places = _places(cells, quantity)
        gains = cells[cells["quantity"] == "ensemble_loss_gain"]
        dots = tuple(
            _dot(row, places[_place(row)], f"{100 * row.time:g} %", times.index(row.time))
            for row in records(gains)
            if _place(row) in places
        )
        if dots:
            figures.append(
                DotFigure(
                    key=f"gain_{quantity}",
                    title=f"What averaging a cell's replicas gains, against {words}",
                    caption="A dot for each cell of every recipe, a colour for each time of "
                    "perturbation. Gain: mean test loss of the replicas less that of the mean of "
                    "their probabilities; above 0 the ensemble is better. Bars are 95 % "
                    f"intervals over base seeds, from three on. {_floor(found)}",
                    place_label=label,
                    value_label=LOSS_GAIN,
                    dots=dots,
                )
            )
    return figures


def _places(cells: pd.DataFrame, quantity: str) -> dict[tuple[Any, ...], float]:
    own = cells[(cells["quantity"] == quantity) & cells["value"].notna()]
    return {_place(row): float(row.value) for row in records(own)}


def _place(row: Any) -> tuple[Any, ...]:
    return (row.intervention, row.kind, row.size, row.time)


def _short(row: Any) -> str:
    return f"{row.kind} {row.size:g}, {100 * row.time:g} %"


def _dot(row: Any, place: float, group: str, style: int) -> Dot:
    return dot(float(place), estimate_of(row), group, style, f"{cell_words(row)}, {group}")


def _floor(found: ButterflyFindings) -> str:
    return f"{floor_text(found.noise_floor).capitalize()} (L2)."
