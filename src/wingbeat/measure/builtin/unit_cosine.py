"""The metric "unit_cosine": how far the incoming weights of single units have turned.

Of every tensor of at least two axes, a unit a row: against the reference at the same step, and
against the replica's own first record (how much of the start is left). It depends on the order of
units; replicas that start from another initialisation need "l2_aligned".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from wingbeat.errors import CONSTANT, DIVERGED
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics.units import purified_share
from wingbeat.metrics.units import unit_cosine as cosines_of
from wingbeat.replicas.fork import REFERENCE
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from wingbeat.measure.context import MetricContext

    Cosines = dict[str, list[Array]]


def _low(x: Array) -> float:
    return float(np.quantile(x[np.isfinite(x)], 0.1)) if np.isfinite(x).any() else np.nan


def _mean(x: Array) -> float:
    return float(x[np.isfinite(x)].mean()) if np.isfinite(x).any() else np.nan


READINGS: Final[dict[str, Callable[[Array], float]]] = {
    "unit_cosine": _mean,
    "unit_cosine_low": _low,
    "units_purified": purified_share,
}
"""Rows against the reference; those against the own first record have ``_start`` at the end."""


@metric_of_run(
    "unit_cosine",
    needs="weights",
    per="layer",
    compares=True,
    unit="1",
    range=(-1, 1),
    direction="1 = same direction",
    caption="Cosine between a unit's incoming weights and the reference's, and between them and "
    "those of its first record: mean and lowest tenth over units, and the share of units that are "
    "mostly a multiple of the other, of each tensor and as the mean over tensors",
    source="feature purification: arXiv 2005.10190",
    rows=(*READINGS, *(f"{row}_start" for row in READINGS)),
    summary=("final_unit_cosine", "final_unit_cosine_start"),
    figure=Curve(row="unit_cosine", axis="mean cosine over units", reference=False),
    definitions=(
        Definition(
            "unit cosine",
            "⟨w_u, w′_u⟩ ÷ (‖w_u‖‖w′_u‖)",
            "w_u are the incoming weights of unit u without its bias. In d dimensions unrelated "
            "units have 0 ± 1/√d. Purified: |cosine| > 1/√2, the part along w′ is the longer one.",
        ),
    ),
    order=92,
)
def unit_cosine(context: MetricContext) -> None:
    """Add the rows of "unit_cosine" and the final means for the summary."""
    starts: dict[str, list[Tensor]] = {}
    final: dict[str, Array] = {}
    for snapshot in context.trajectory:
        here, back = _cosines(snapshot.params, starts)
        if not here:
            context.undefined(("unit_cosine",), (), CONSTANT)
            return
        for row, read in READINGS.items():
            for end, found in (("", here), ("_start", back)):
                whole = _rows(context, f"{row}{end}", snapshot.step, found, read)
                if row == "unit_cosine":
                    final[f"final_{row}{end}"] = whole
    for name, values in final.items():
        context.keep(name, values, low=-1.0, high=1.0)


def _cosines(
    params: Mapping[str, Tensor], starts: dict[str, list[Tensor]]
) -> tuple[Cosines, Cosines]:
    """Return cosines of every replica's units with the reference's, and with its own start."""
    here: Cosines = {}
    back: Cosines = {}
    for name, tensor in params.items():
        if tensor.dim() < 3:
            continue
        kept = starts.setdefault(name, [])
        kept += list(tensor[len(kept) :])
        stack, own = (torch.stack(list(t)).double().cpu().numpy() for t in (tensor, kept))
        here[name] = [cosines_of(w, stack[0]) for w in stack]
        back[name] = [cosines_of(w, start) for w, start in zip(stack, own, strict=True)]
    return here, back


def _rows(
    context: MetricContext, row: str, step: int, found: Cosines, read: Callable[[Array], float]
) -> Array:
    labels = context.trajectory.at(step).labels
    first = 0 if row.endswith("_start") else 1
    values = {name: np.array([read(c) for c in v])[first:] for name, v in found.items()}
    w = context.weights
    lost = w.lost[list(w.steps).index(step)][: len(labels)]
    why = np.where(lost | (lost[0] & bool(first)), DIVERGED, CONSTANT)[first:]
    a = REFERENCE if first else ""
    whole = layer_rows(context, row, step, labels[first:], values, a=a, why=why)
    return np.concatenate([np.ones(first), whole])
