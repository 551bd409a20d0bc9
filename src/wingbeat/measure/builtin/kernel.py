"""The metric "kernel": how the empirical tangent kernel of each replica moves.

Kind "trace", eval mode, at most 128 evenly spaced training samples. 1 − cosine is blind to a
factor: the growth of the kernel is a row of its own.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED, NO_PREDICTIONS, NOT_REACHED, TOO_FEW_POINTS
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.measure.tangent_kernels import RunKernels, run_kernels
from wingbeat.metrics import kernel as of
from wingbeat.replicas.fork import REFERENCE
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable

    from wingbeat.measure.context import MetricContext

SETTLED: Final = 0.1
"""Share of its largest early motion below which a kernel counts as settled."""


@metric_of_run(
    "kernel",
    needs="models",
    per="layer",
    unit="1",
    range=(0, inf),
    direction="distance 0 = the same up to a factor",
    label="tangent kernel",
    caption="1 − cosine of the empirical tangent kernel (trace over outputs) with the reference's, "
    "with its own at the record before and at the first; its growth, fit to the labels and rank. "
    "Distances and growth also of the part that each tensor of the weights makes, with its share "
    "of the trace; the parts add up to the kernel",
    source="Fort et al., arXiv 2010.15110; Zhou et al., arXiv 2505.13900",
    cost="a forward and a backward pass for each of at most 128 samples and each output, replica "
    "and look; as many looks as together take as many gradients as training did, at least two",
    rows=(
        "kernel_distance",
        "kernel_motion",
        "kernel_from_start",
        "kernel_norm_ratio",
        "kernel_alignment",
        "kernel_rank",
        "kernel_share",
    ),
    summary=("final_kernel_distance", "kernel_settled_step"),
    figure=Curve(row="kernel_from_start", label="tangent kernel", axis="1 − cosine with the first"),
    definitions=(
        Definition(
            "kernel distance",
            "1 − ⟨Θ, Θ′⟩ ÷ (‖Θ‖‖Θ′‖)",
            "Θ_nm = Σ_k ⟨∇f_k(x_n), ∇f_k(x_m)⟩ ÷ K. 0 = the same up to a factor. Motion: against "
            "the record before; settled: the first record after which motion per step stays below "
            "a tenth of its largest.",
        ),
    ),
    order=320,
)
def kernel(context: MetricContext) -> None:
    """Add the rows of "kernel" and its scalars for the summary."""
    run = run_kernels(context)
    first: list[Array] = []
    before: list[Array] = []
    motion: dict[int, Array] = {}
    for step in run.steps:
        every = list(run.kernels[step])
        first += every[len(first) :]
        past = [*before, *every[len(before) :]]
        apart = _rows(context, "kernel_distance", step, run, _pairs(every, every[:1] * len(every)))
        motion[step] = _rows(context, "kernel_motion", step, run, _pairs(every, past))
        _rows(context, "kernel_from_start", step, run, _pairs(every, first))
        _rows(context, "kernel_norm_ratio", step, run, _grown(every, first))
        _rows(context, "kernel_rank", step, run, np.array([of.effective_rank(k) for k in every]))
        _alignment(context, step, run)
        _layers(context, step, run)
        before = every
    context.keep("final_kernel_distance", apart, low=0.0, high=1.0, reason=CONSTANT)
    settled, why = _settled(run, motion, len(context.labels))
    context.keep("kernel_settled_step", settled, low=0.0, reason=why)


def _pairs(now: list[Array], then: list[Array]) -> Array:
    return np.array([of.kernel_distance(a, b) for a, b in zip(now, then, strict=True)])


def _grown(now: list[Array], first: list[Array]) -> Array:
    norms = [(np.linalg.norm(a), np.linalg.norm(b)) for a, b in zip(now, first, strict=True)]
    return np.array([a / b if b > 0 else np.nan for a, b in norms])


def _alignment(context: MetricContext, step: int, run: RunKernels) -> None:
    fit: Callable[[Array], float] = lambda _: np.nan  # noqa: E731
    if run.labels is not None:
        labels = run.labels
        fit = lambda k: of.alignment(k, labels)  # noqa: E731
    values = np.array([fit(k) for k in run.kernels[step]])
    why = NO_PREDICTIONS if run.labels is None else ""
    _rows(context, "kernel_alignment", step, run, values, why)


def _rows(
    context: MetricContext, row: str, step: int, run: RunKernels, values: Array, why: str = ""
) -> Array:
    labels, first = context.trajectory.at(step).labels, int(row == "kernel_distance")
    reasons = _reasons(run, step, first, why)
    kept, a = {"": values[first:]}, REFERENCE if first else ""
    layer_rows(context, row, step, labels[first:], kept, a=a, why=reasons[first:], mean=False)
    return values


def _layers(context: MetricContext, step: int, run: RunKernels) -> None:
    """Add the rows of the parts that tensors make."""
    labels = context.trajectory.at(step).labels
    for row, values in run.layers.get(step, {}).items():
        first = int(row == "kernel_distance")
        kept = {name: own[first:] for name, own in values.items()}
        why = _reasons(run, step, first)[first:]
        a = REFERENCE if first else ""
        layer_rows(context, row, step, labels[first:], kept, a=a, why=why, mean=False)


def _reasons(run: RunKernels, step: int, first: int, why: str = "") -> Array:
    """Return for each replica why its kernel, or its distance to the reference's, has no value."""
    finite = np.asarray(np.isfinite(run.kernels[step]).all(axis=(1, 2)))
    return np.where(finite & (finite[0] | (first == 0)), why or CONSTANT, DIVERGED)


def _settled(run: RunKernels, motion: dict[int, Array], count: int) -> tuple[Array, str]:
    """Return for each replica the first step after which its kernel moves little, (E,)."""
    if len(run.steps) < 3:
        return np.full(count, np.nan), TOO_FEW_POINTS
    speed = np.full((len(run.steps) - 1, count), np.nan)
    for i, (a, b) in enumerate(zip(run.steps[:-1], run.steps[1:], strict=True)):
        there = len(run.kernels[a])  # what forked in between has not moved yet
        speed[i, :there] = motion[b][:there] / (b - a)
    settled = np.full(count, np.nan)
    for place in range(count):
        own = speed[:, place]
        quiet = np.atleast_1d(own <= SETTLED * np.nanmax(own, initial=-1.0))
        late = [i for i in range(len(quiet)) if quiet[i:].all()]
        if late:
            settled[place] = run.steps[late[0]]
    return settled, NOT_REACHED
