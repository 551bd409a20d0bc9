"""The figures of representations: angular CKA by layer, and over training."""

from __future__ import annotations

import math
from typing import Final

from wingbeat.report.figures.families import (
    STEP_LABEL,
    families,
    family_note,
    joined,
    one_each,
    sentence,
    span,
)
from wingbeat.report.figures.records import MOST_NAMES, Figure, LineFigure
from wingbeat.report.prose import number
from wingbeat.report.result_access import ResultLike, rows, undefined_note

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
    by_place = last.assign(step=last["layer"].map(place))
    lines, frame = one_each(
        result, lambda name: by_place[by_place["perturbation"] == name], marked_to=MOST_NAMES
    )
    if not lines:
        return None
    return LineFigure(
        key="cka_by_layer",
        title=_title(lines[0].name, layers, lines[0].y),
        caption=joined(
            f"At step {int(last['step'].max()):,}. {_MEANING}",
            sentence(lines, result),
            undefined_note(frame),
            family_note(result),
        ),
        x_label="layer, in the order of the model",
        y_label="angular CKA (radian)",
        lines=lines,
        names=tuple(layers),
    )


def over_training(result: ResultLike) -> LineFigure | None:
    """Mean angle over the layers against the step, a line per perturbation; None without data."""
    lines, notes = families(result, METRIC)
    if not lines:
        return None
    ends = span(line.y[-1] for line in lines)
    title = "How far do the representations turn?"
    if ends:
        title = f"Mean angle between the representations at the end: {ends} radian"
    return LineFigure(
        key="cka",
        title=title,
        caption=joined(_MEANING, "Mean over layers.", sentence(lines, result), notes),
        x_label=STEP_LABEL,
        y_label="angular CKA, mean over layers (radian)",
        lines=lines,
    )


def _title(name: str, layers: list[str], angles: tuple[float, ...]) -> str:
    known = [(angle, i) for i, angle in enumerate(angles) if math.isfinite(angle)]
    if not known or len(angles) != len(layers):
        return f"{name}: which layers represent something else?"
    angle, place = max(known)
    return f"{name}: layer {layers[place]} has turned farthest ({number(angle)} radian)"
