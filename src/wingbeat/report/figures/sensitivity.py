"""The barrier at the end against when and how strongly was nudged, in one run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from wingbeat.report.figures.cell_map import CellMap
from wingbeat.report.figures.families import joined
from wingbeat.report.figures.marks import Dot, DotFigure
from wingbeat.report.prose import floor_text, interval, number, reason
from wingbeat.report.result_access import ResultLike, as_float, entry

BARRIER: Final = "final_barrier_train"
_SETTINGS: Final = ("kind", "relative_to", "fraction", "include", "exclude")
Asked = Mapping[str, Any]


def sensitivity_figures(result: ResultLike) -> tuple[CellMap | DotFigure, ...]:
    """Return the figures of when and how strongly was nudged that a result has data for."""
    found = (barrier_map(result), *growth_with_size(result))
    return tuple(f for f in found if f is not None)


def barrier_map(result: ResultLike) -> CellMap | None:
    """Training-loss barrier by step and size of the nudge; None without two of either.

    Of the kind of nudge with the most of them.
    """
    own = max(_alike(result), key=len, default=[])
    cells = {(int(p["at"]), _size(p)): entry(result, BARRIER, str(p["name"])) for p in own}
    steps, sizes = sorted({step for step, _ in cells}), sorted({size for _, size in cells})
    if len(cells) < 2 or not any(cell.defined for cell in cells.values()):
        return None

    def said(size: float, step: int) -> tuple[float, str, str]:
        """Return the value of a cell, and what stands in and beside it."""
        if (step, size) not in cells:
            return math.nan, "", ""
        cell = cells[step, size]
        bounds = f" [{interval(cell)}]" if cell.has_interval else ", no interval"
        text = f"{number(cell.value)}{bounds}" if cell.defined else f"undefined: {reason(cell)}"
        return cell.value, number(cell.value, 2), f"size {size:g} at step {step:,}: {text}"

    grid = [[said(size, step) for step in steps] for size in sizes]
    return CellMap(
        key="barrier_map",
        title=f"Barrier at the end by time and size of the nudge: {own[0].get('kind', '')}",
        caption=joined(
            "Mean over replicas of the training-loss barrier to the reference at the last step; "
            "point at a cell for its 95 % interval. Sizes are relative to "
            f"{str(own[0].get('relative_to') or 'nothing').replace('_', ' ')}.",
            f"{floor_text(result.noise_floor).capitalize()} (in L2).",
        ),
        x_label="step of the nudge (optimizer updates)",
        y_label="relative size",
        columns=tuple(f"{step:,}" for step in steps),
        rows=tuple(f"{size:g}" for size in sizes),
        values=tuple(tuple(cell[0] for cell in row) for row in grid),
        texts=tuple(tuple(cell[1] for cell in row) for row in grid),
        hovers=tuple(tuple(cell[2] for cell in row) for row in grid),
        value_label="barrier (units of the loss)",
    )


def growth_with_size(result: ResultLike) -> tuple[DotFigure, ...]:
    """Barrier and distance at the end against the nudge's own norm, a dot a perturbation."""
    asked = [(p, _norm(p)) for p in result.perturbations]
    asked = [(p, norm) for p, norm in asked if norm > 0]
    steps = sorted({int(p["at"]) for p, _ in asked})
    found = []
    for key, words, unit in (
        (BARRIER, "barrier", "barrier (units of the loss)"),
        ("final_l2", "distance", "L2 distance at the end (weight units)"),
    ):
        dots = []
        for p, norm in asked:
            value = entry(result, key, str(p["name"]))
            bounds = f" [{interval(value)}]" if value.has_interval else ", no interval"
            if value.defined:
                said = f"{p['name']}: {number(value.value)}{bounds}"
                place = steps.index(int(p["at"]))
                group = f"step {int(p['at']):,}"
                dots.append(Dot(norm, value.value, value.low, value.high, group, place, said))
        if len(dots) > 1 and len({dot.place for dot in dots}) > 1:
            found.append(_growth(result, key, words, unit, dots))
    return tuple(found) if len(found) > 1 else ()  # a run without barriers has curves enough


def _growth(result: ResultLike, key: str, words: str, unit: str, dots: Sequence[Dot]) -> DotFigure:
    return DotFigure(
        key=f"growth_{key}",
        title=f"How the {words} at the end grows with the nudge",
        caption=joined(
            "A dot for each perturbation, the mean over its replicas; a colour for each step of "
            "the nudge; bars are 95 % intervals.",
            f"{floor_text(result.noise_floor).capitalize()} (in L2).",
        ),
        place_label="L2 norm of the nudge (weight units)",
        value_label=unit,
        dots=tuple(dots),
        log_place=True,
        log_value=key == "final_l2",
    )


def _alike(result: ResultLike) -> list[list[Asked]]:
    """Return perturbations that differ in step and size only, in groups."""
    found: dict[str, list[Asked]] = {}
    for asked in result.perturbations:
        if math.isfinite(_size(asked)):
            found.setdefault(repr([asked.get(s) for s in _SETTINGS]), []).append(asked)
    return list(found.values())


def _size(asked: Asked) -> float:
    return as_float(asked.get("scale", asked.get("n")))


def _norm(asked: Asked) -> float:
    """Return the mean norm of what was really added, NaN where it is not recorded."""
    realised = [as_float(v) for v in (asked.get("realised") or {}).get("l2") or ()]
    return fmean(realised) if realised and all(map(math.isfinite, realised)) else math.nan
