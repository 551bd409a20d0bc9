"""The figures of representations: angular CKA by layer, and over training."""

from __future__ import annotations

import math
from typing import Final

import pandas as pd

from wingbeat.report.figures.families import (
    band_note,
    drawn_names,
    families,
    family_note,
    joined,
    line_of,
    replica_note,
)
from wingbeat.report.figures.records import MOST_NAMES, MOST_POINTS, Figure, LineFigure
from wingbeat.report.prose import number
from wingbeat.report.result_access import ResultLike, median_curve, rows, undefined_note

METRIC: Final = "angular_cka"
_MEANING: Final = (
    "Angle between a replica's and the reference's representation of the same samples, arc cosine "
    "of debiased CKA; 0 = the same up to rotation, π/2 = unrelated."
)


def representation_figures(result: ResultLike) -> tuple[Figure, ...]:
    """Return the figures of representations that a result has data for."""
    found = (by_layer(result), over_training(result))
    return tuple(f for f in found if f is not None)


def by_layer(result: ResultLike) -> LineFigure | None:
    """Angle of each layer at the last step, a line per perturbation; None without data."""
    table = rows(result, METRIC, layer=None)
    table = table[table["layer"] != ""]
    if not len(table):
        return None
    last = table[table["step"] == table["step"].max()]
    layers = [str(layer) for layer in dict.fromkeys(last["layer"])]
    place = {layer: i for i, layer in enumerate(layers)}
    lines, frames = [], []
    for style, name in enumerate(drawn_names(result)):
        frame = last[last["perturbation"] == name]
        if len(frame):
            curve = median_curve(frame.assign(step=frame["layer"].map(place)))
            marked = len(layers) <= MOST_NAMES
            lines.append(line_of(name, style, curve, MOST_POINTS, marked=marked))
            frames.append(frame)
    if not lines:
        return None
    note = f"{band_note(lines)}{replica_note(result)}."
    return LineFigure(
        key="cka_by_layer",
        title=_title(lines[0].name, layers, lines[0].y),
        caption=joined(
            f"At step {int(last['step'].max()):,}. {_MEANING}",
            note[:1].upper() + note[1:],
            undefined_note(pd.concat(frames)),
            family_note(result),
        ),
        x_label="layer, in the order of the model",
        y_label="angular CKA (radian)",
        lines=tuple(lines),
        names=tuple(layers),
    )


def over_training(result: ResultLike) -> LineFigure | None:
    """Mean angle over the layers against the step, a line per perturbation; None without data."""
    lines, notes = families(result, METRIC)
    if not lines:
        return None
    ends = [line.y[-1] for line in lines if math.isfinite(line.y[-1])]
    title = "How far do the representations turn?"
    if ends:
        low, high = number(min(ends)), number(max(ends))
        span = low if low == high else f"{low} to {high}"
        title = f"Mean angle between the representations at the end: {span} radian"
    note = f"{band_note(lines)}{replica_note(result)}."
    return LineFigure(
        key="cka",
        title=title,
        caption=joined(_MEANING, "Mean over layers.", note[:1].upper() + note[1:], notes),
        x_label="step (optimizer updates)",
        y_label="angular CKA, mean over layers (radian)",
        lines=lines,
    )


def _title(name: str, layers: list[str], angles: tuple[float, ...]) -> str:
    known = [(angle, i) for i, angle in enumerate(angles) if math.isfinite(angle)]
    if not known or len(angles) != len(layers):
        return f"{name}: which layers represent something else?"
    angle, place = max(known)
    return f"{name}: layer {layers[place]} has turned farthest ({number(angle)} radian)"
