"""The figures in other coordinates: ways through principal components, and the map of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from wingbeat.report.figures.families import (
    STEP_LABEL,
    drawn_names,
    family_note,
    joined,
    replica_note,
    style_of,
    thinning_note,
)
from wingbeat.report.figures.records import (
    FEWEST_POINTS,
    MOST_POINTS,
    MOST_REPLICAS,
    HeatFigure,
    Path,
    PathFigure,
)
from wingbeat.report.prose import number, percent
from wingbeat.report.result_access import (
    NULL,
    NULL_TEXT,
    REFERENCE,
    ResultLike,
    base_seeds,
    kept,
    labels_in,
    names,
    owner,
    rows,
    undefined_note,
)

MOST_LAYERS: Final = 120
MOST_CELLS: Final = 4000


def trajectories(result: ResultLike, components: tuple[int, ...] = (0, 1)) -> PathFigure | None:
    """Ways of the replicas through chosen principal components of all snapshots.

    Args:
        result: what to read.
        components: two or three component indices, 0 the largest variance.

    Returns:
        The ways, or None where the result holds no such components.
    """
    frames = [_first_seed(result, rows(result, f"pc{c + 1}")) for c in components]
    if any(not len(frame) for frame in frames):
        return None
    chosen, left_out = _chosen_labels(result, frames[0])
    most = max(FEWEST_POINTS, MOST_POINTS // max(1, len(chosen)))
    ways = _ways(frames)
    paths = [_path(result, ways, label, most) for label in chosen]
    shares = _shares(result)
    known = [shares[c] for c in components if c in shares]
    title = "Which way do the copies go?"
    if len(known) == len(components):
        which = " and ".join(f"PC {c + 1}" for c in components)
        which = which.replace(" and ", ", ", len(components) - 2)
        title = f"{which} hold {percent(sum(known))} of all variance"
    longest = max(frames[0].groupby("b").size())
    return PathFigure(
        key=f"trajectories_{len(components)}d",
        title=title,
        caption=joined(
            "Way of each copy through the principal components of all snapshots; open mark: "
            "first snapshot, filled mark: last. The axes are scaled apart, and a projection can "
            f"hide a distance but never invent one; {replica_note(result)}.",
            _seed_note(result),
            left_out,
            thinning_note(longest, most),
            undefined_note(frames[0]),
            family_note(result),
        ),
        axes=tuple(_axis(c, shares) for c in components),
        paths=tuple(paths),
    )


def _first_seed(result: ResultLike, frame: pd.DataFrame) -> pd.DataFrame:
    """Keep one base seed: each has principal components of its own."""
    seeds = base_seeds(result)
    return frame if len(seeds) < 2 else frame[frame["seed"] == seeds[0]]


def _seed_note(result: ResultLike) -> str:
    seeds = base_seeds(result)
    return (
        f"Only base seed {seeds[0]} is drawn: each has components of its own."
        if len(seeds) > 1
        else ""
    )


def _shares(result: ResultLike) -> dict[int, float]:
    frame = _first_seed(result, rows(result, "pca_explained", layer=None))
    found = zip(frame["step"], frame["value"], strict=True)
    return {int(step) - 1: float(value) for step, value in found if math.isfinite(value)}


def _axis(component: int, shares: dict[int, float]) -> str:
    share = f", {percent(shares[component])} of variance" if component in shares else ""
    return f"PC {component + 1} (weight units{share})"


def _chosen_labels(result: ResultLike, frame: pd.DataFrame) -> tuple[list[str], str]:
    """Return the labels to draw, the reference last (on top), and a note on those left out."""
    families: dict[str, list[str]] = {}
    for label in labels_in(frame):
        families.setdefault(owner(result, label), []).append(label)
    chosen, cut = [], False
    for family in drawn_names(result):
        members = families.get(family, [])
        cut = cut or len(members) > MOST_REPLICAS
        chosen += [members[i] for i in kept(len(members), MOST_REPLICAS)]
    if NULL in families and result.noise_floor != 0:
        chosen.append(NULL)
    if REFERENCE in families:
        chosen.append(REFERENCE)
    note = f"At most {MOST_REPLICAS} replicas of a perturbation are drawn." if cut else ""
    return chosen, note


def _ways(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return a column for each component, by label and step: grouped once for all copies."""
    return pd.concat([f.groupby(["b", "step"])["value"].mean() for f in frames], axis=1)


def _path(result: ResultLike, ways: pd.DataFrame, label: str, most: int) -> Path:
    family = owner(result, label)
    joint = ways.loc[label].sort_index()
    joint = joint.iloc[kept(len(joint), most)]
    return Path(
        name=label,
        group=family if family != NULL else NULL_TEXT,
        style=style_of(result, family),
        steps=tuple(float(s) for s in joint.index),
        coordinates=tuple(tuple(map(float, column)) for column in joint.to_numpy().T),
        thin=family != REFERENCE,
    )


def layers(result: ResultLike, perturbation: str | None = None) -> HeatFigure | None:
    """Map of tensors by steps for one perturbation: log10 of how far each tensor has gone.

    The distance is the relative L2 distance to the reference (median over replicas)
    where it was measured, else the spread of the tensor divided by its first value.

    Args:
        result: what to read.
        perturbation: its name; None takes the first.
    """
    names_ = names(result)
    if not names_:
        return None
    found = layers_of_all(result, (names_[0] if perturbation is None else perturbation,))
    return found[0] if found else None


def layers_of_all(result: ResultLike, chosen: Sequence[str]) -> tuple[HeatFigure, ...]:
    """Return the maps of several perturbations, their colours on one scale.

    Maps of another quantity (see `layers`) have a scale of their own.
    """
    found = [heat for name in chosen if (heat := _first_heat(result, name)) is not None]
    limits = {}
    for label in {heat.value_label for heat in found}:
        ends = [heat.limits for heat in found if heat.value_label == label and not heat.empty]
        limits[label] = (min(e[0] for e in ends), max(e[1] for e in ends)) if ends else (0.0, 1.0)
    several = "All maps here have the same scale of colours." if len(found) > 1 else ""
    return tuple(
        replace(heat, limits=limits[heat.value_label], caption=joined(heat.caption, several))
        for heat in found
    )


def _first_heat(result: ResultLike, name: str) -> HeatFigure | None:
    for metric in _LAYER_METRICS:
        grid = _grid(result, metric, name)
        if grid is not None:
            return _heat(result, metric, name, grid)
    return None


_LAYER_METRICS: Final = {
    "relative_l2": (
        "log₁₀ relative distance",
        "relative L2 distance of each tensor to the reference (median over replicas)",
    ),
    "spread": (
        "log₁₀ (spread ÷ first)",
        "spread of each tensor divided by its first defined value",
    ),
}


def _grid(result: ResultLike, metric: str, name: str) -> pd.DataFrame | None:
    """Return log10 values, tensors as rows in the model's order, steps as columns."""
    frame = rows(result, metric, perturbation=name, layer=None)
    frame = frame[frame["layer"] != ""]
    if not len(frame):
        return None
    order = list(dict.fromkeys(result.table.loc[frame.index.sort_values(), "layer"]))
    values = frame["value"].astype("float64")
    positive = values.where(np.isfinite(values) & (values > 0))
    grid = positive.groupby([frame["layer"], frame["step"]]).median().unstack()  # noqa: PD010  (pivot_table drops rows that are all NaN)
    grid = grid.loc[order]
    if metric == "spread":
        grid = grid.div(grid.bfill(axis=1).iloc[:, 0], axis=0)
    return grid.apply(np.log10)


def _colour_limits(grid: pd.DataFrame) -> tuple[float, float]:
    values = grid.to_numpy().ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _heat(result: ResultLike, metric: str, name: str, grid: pd.DataFrame) -> HeatFigure:
    label, meaning = _LAYER_METRICS[metric]
    whole = grid.shape
    grid = grid.iloc[kept(whole[0], MOST_LAYERS)]
    grid = grid.iloc[:, kept(whole[1], max(12, MOST_CELLS // len(grid)))]
    last = grid.ffill(axis=1).iloc[:, -1]
    title = f"{name}: which layers part?"
    if last.notna().any():
        top = str(last.idxmax())
        title = f"{name}: {top} ends farthest (×{number(10 ** float(last.max()))})"
        if metric == "relative_l2":
            title = f"{name}: {top} ends relatively farthest from the reference"
    cut = whole != grid.shape
    return HeatFigure(
        key="layers",
        title=title,
        caption=joined(
            f"Colour: log₁₀ of the {meaning}; 0 means a distance as large as the tensor itself."
            if metric == "relative_l2"
            else f"Colour: log₁₀ of the {meaning}; 0 means unchanged.",
            "Blank: exactly 0 or undefined. First tensor of the model at the top; "
            f"{replica_note(result)}.",
            f"Thinned to {grid.shape[0]} of {whole[0]} tensors and {grid.shape[1]} of {whole[1]} "
            "steps."
            if cut
            else "",
        ),
        x_label=STEP_LABEL,
        value_label=label,
        layers=tuple(str(layer) for layer in grid.index),
        steps=tuple(float(s) for s in grid.columns),
        values=tuple(tuple(float(v) for v in row) for row in grid.to_numpy()),
        limits=_colour_limits(grid),
    )
