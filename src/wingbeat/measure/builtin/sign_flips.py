"""The metric "sign_flips": weights whose sign changes from record to record.

Record every step (``record_every=1``) to see the 2-cycle of subgradient descent: single weights at
the edge of stability jump to and fro across 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import DIVERGED, NOT_YET_FORKED, TOO_FEW_POINTS
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics import signs
from wingbeat.replicas.fork import REFERENCE
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from wingbeat.measure.context import MetricContext
    from wingbeat.replicas.snapshot import Snapshot

    Stacks = dict[str, Array]

ROWS: Final = ("sign_flips", "sign_flips_twice", "exact_zeros", "sign_disagreement")


@metric_of_run(
    "sign_flips",
    needs="weights",
    per="layer",
    unit="share",
    range=(0, 1),
    direction="0 = no sign changed",
    caption="Share of weights whose sign differs from the record before, of those that changed "
    "twice in a row, of those that are exactly 0, and of those whose sign differs from the "
    "reference's, of the whole model and of each tensor",
    source="the 2-cycle of subgradient descent: arXiv 2401.08426",
    rows=ROWS,
    summary=("final_sign_flips",),
    figure=Curve(row="sign_flips", axis="share of weights"),
    definitions=(
        Definition(
            "sign flips",
            "mean over weights of [w(t) w(s) < 0], s the record before t",
            "Twice: also between s and the record before s. With every step recorded, 1 means that "
            "all weights jump to and fro across 0.",
        ),
    ),
    order=94,
)
def sign_flips(context: MetricContext) -> None:
    """Add the rows of "sign_flips" and the final share for the summary."""
    past: list[Stacks] = []
    for snapshot in context.trajectory:
        past = [*past[-2:], {name: _signs(t) for name, t in snapshot.params.items()}]
        final = _moment(context, snapshot, past)
    context.keep("final_sign_flips", final, low=0.0, high=1.0, reason=TOO_FEW_POINTS)


def _signs(tensor: Tensor) -> Array:
    """Return −1, 0, 1, or NaN for what is not finite, (E, numbers), in two bytes a weight."""
    flat = tensor.double().cpu().numpy().reshape(len(tensor), -1)
    return np.asarray(np.where(np.isfinite(flat), np.sign(flat), np.nan).astype(np.float16))


def _moment(context: MetricContext, snapshot: Snapshot, past: list[Stacks]) -> Array:
    """Add all rows of a moment; returns the share of flips of every replica."""
    count, sizes = len(snapshot.labels), {k: v.shape[1] for k, v in past[-1].items()}

    def by_layer(share: Callable[..., float], back: int) -> dict[str, Array]:
        """Return a share of each tensor, NaN where a replica has no record so far back."""
        found = {}
        for name in sizes:
            stacks = [one[name] for one in past[-1 - back :]] if len(past) > back else []
            found[name] = np.full(count, np.nan)
            for i in range(min((len(s) for s in stacks), default=0)):
                found[name][i] = share(*(s[i] for s in stacks))
        return found

    flips = _rows(context, snapshot, "sign_flips", by_layer(signs.sign_flips, 1), sizes)
    _rows(context, snapshot, "sign_flips_twice", by_layer(signs.period_two, 2), sizes)
    _rows(context, snapshot, "exact_zeros", by_layer(signs.exact_zeros, 0), sizes)
    apart = {k: np.array([signs.sign_flips(s[0], w) for w in s]) for k, s in past[-1].items()}
    _rows(context, snapshot, "sign_disagreement", apart, sizes)
    return flips


def _rows(
    context: MetricContext, snapshot: Snapshot, row: str, found: Stacks, sizes: dict[str, int]
) -> Array:
    """Add the rows of each tensor, and the share of the whole model in place of a mean."""
    w = context.weights
    lost = w.lost[list(w.steps).index(snapshot.step)][: len(snapshot.labels)]
    steps = list(w.steps)
    early = TOO_FEW_POINTS if steps.index(snapshot.step) < 2 else NOT_YET_FORKED
    why = np.where(lost, DIVERGED, early)
    first = int(row == "sign_disagreement")
    whole = sum(found[k] * n for k, n in sizes.items()) / sum(sizes.values())
    values = {"": whole, **found}
    kept = {k: np.asarray(v)[first:] for k, v in values.items()}
    layer_rows(
        context,
        row,
        snapshot.step,
        snapshot.labels[first:],
        kept,
        a=REFERENCE if first else "",
        why=why[first:],
        mean=False,
    )
    return np.asarray(whole)
