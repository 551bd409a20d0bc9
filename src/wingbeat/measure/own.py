"""Metrics of one's own: a function of one recorded moment becomes a metric."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.errors import DIVERGED, METRIC_NOT_FINITE, RequestError
from wingbeat.measure.accumulate import MeanOverSamples
from wingbeat.measure.budget import forked_steps
from wingbeat.measure.metric import METRICS, Curve, Metric, Needs, Per
from wingbeat.measure.rows import replica_rows, why_not_finite
from wingbeat.measure.table import object_array, owners
from wingbeat.measure.views import MomentView
from wingbeat.replicas.fork import REFERENCE
from wingbeat.trajectory.trajectory import perturbed
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from wingbeat.measure.accumulate import BatchView
    from wingbeat.measure.context import MetricContext


_OF_MODELS: Final = ("activations", "models")


def metric(
    name: str,
    *,
    needs: Needs,
    unit: str,
    range: tuple[float, float],  # noqa: A002  (the field's name in every list)
    direction: str,
    caption: str,
    per: Per = "replica",
    compares: bool = False,
    curve: bool = True,
    **facts: Any,
) -> Callable[[Callable[[Any], Any]], Metric]:
    """Declare a function of one recorded moment as a metric.

    The function is called for every recorded moment: with a `MomentView` for metrics that need
    "weights", "losses", "activations" or "models"; with a `BatchView` for those that need
    "outputs", once per batch, and the mean over all samples is taken. For "activations" and
    "models" only moments with a perturbed replica count.

    Args:
        name: as it is asked for.
        needs: what it is computed from.
        unit: of the value.
        range: smallest and largest value.
        direction: how to read it.
        caption: what it is, as one sentence without its full stop.
        per: what one value belongs to, and hence what the function returns. "replica": (E,).
            "perturbation": one number; the view then holds the replicas of one perturbation.
            "layer": ``{layer: (E,)}``. "pair": (E, E), of which each pair is kept once.
        compares: whether the value compares with the reference, which then has no value itself.
        curve: whether the report draws it over training.
        **facts: the other fields of `Metric`.

    Returns:
        The decorator. What it returns can be passed to ``wb.run(metrics=…)`` and is known by name.

    Raises:
        RequestError: the name is taken, or the fields do not fit each other.

    Example:
        >>> from math import inf
        >>> @metric("largest", needs="weights", unit="weight", range=(0, inf), compares=True,
        ...         direction="0 = identical", caption="Largest change of a weight")
        ... def largest(view):
        ...     return np.max([abs(b - b[0]).max(axis=1) for _, b in view.blocks()], axis=0)
        >>> largest.name, largest.summary
        ('largest', ('final_largest',))
    """
    if needs == "outputs" and per != "replica":
        raise RequestError(f"metric {name!r}: per is {per!r}: with needs='outputs' use 'replica'")
    if per == "run":
        raise RequestError(f"metric {name!r}: per is 'run': use wingbeat.measure.metric_of_run")
    drawn = curve and per in ("replica", "perturbation")
    fixed: dict[str, Any] = {
        "summary": (f"final_{name}",) if per in ("replica", "perturbation") else (),
        "figure": Curve(log=range[0] >= 0) if drawn else None,
    }
    if needs == "outputs":
        fixed["cost"] = "a pass over the evaluation data at every snapshot"

    def declare(function: Callable[[Any], Any]) -> Metric:
        """Make the function a metric, and register it."""
        if needs == "outputs":
            own = partial(_of_outputs, name, range, compares)
            fixed["accumulate"] = lambda _: MeanOverSamples(_quiet(function))
        else:
            own = partial(_of_moments, name, needs, per, range, compares, function)
        declared = Metric(
            name=name,
            function=own,
            declared=function,
            needs=needs,
            per=per,
            unit=unit,
            range=range,
            direction=direction,
            caption=caption,
            compares=compares,
            **{**fixed, **facts},
        )
        return METRICS.add(name, declared)

    return declare


def _of_outputs(
    name: str, limits: tuple[float, float], compares: bool, context: MetricContext
) -> None:
    """Add the rows of a mean over samples at one moment."""
    snapshot, outputs = context.moment
    total = outputs.totals.get(name)
    values = total.value() if isinstance(total, MeanOverSamples) else None
    a, first = REFERENCE if compares else "", int(compares)
    labels = snapshot.labels
    if values is None:
        replica_rows(context, name, labels[first:], None, a)
        return
    values = _shaped(name, values, (len(labels),))
    why = why_not_finite(context, values, snapshot.step, labels, compares=compares)
    replica_rows(context, name, labels[first:], values[first:], a, why[first:])
    context.keep(f"final_{name}", values, *limits, reason=why)


def _of_moments(
    name: str,
    needs: Needs,
    per: Per,
    limits: tuple[float, float],
    compares: bool,
    function: Callable[[MomentView | BatchView], Any],
    context: MetricContext,
) -> None:
    """Call a function at every recorded moment and add its rows."""
    last = context.trajectory.steps[-1]
    steps = forked_steps(context) if needs in _OF_MODELS else context.trajectory.steps
    function = _quiet(function)
    for step in steps:
        context.tick(f"{name} at step {step}")
        view = MomentView(context.trajectory.at(step), context)
        if per == "perturbation":
            _perturbation_rows(context, name, function, view, end=step == last)
            continue
        found = function(view)
        if per == "pair":
            _pair_rows(context, name, view, found)
        elif per == "layer":
            for layer, values in found.items():
                _replica_rows(context, name, view, values, layer, compares=compares)
        else:
            values, why = _replica_rows(context, name, view, found, "", compares=compares)
            if step == last:
                context.keep(f"final_{name}", values, *limits, reason=why)


def _quiet(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function whose overflows are no warnings: a replica may have broken down."""

    def called(view: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return function(view)

    return called


def _replica_rows(
    context: MetricContext, name: str, view: MomentView, found: Any, layer: str, *, compares: bool
) -> tuple[Array, NDArray[np.object_]]:
    values, first = _shaped(name, found, (len(view.labels),)), int(compares)
    finite = np.isfinite(values)
    why = why_not_finite(context, values, view.step, view.labels, compares=compares)
    context.out.add(
        name,
        np.where(finite, values, np.nan)[first:],
        step=view.step,
        perturbation=owners(view.labels)[first:],
        a=REFERENCE if compares else "",
        b=object_array(view.labels[first:]),
        layer=layer,
        reason=why[first:],
    )
    return values, why


def _perturbation_rows(
    context: MetricContext,
    name: str,
    function: Callable[[MomentView], Any],
    view: MomentView,
    *,
    end: bool,
) -> None:
    for perturbation, places in perturbed(view.labels).items():
        value = float(_shaped(name, function(view.of(places)), ()))
        finite = bool(np.isfinite(value))
        own = [view.labels[0], *(view.labels[i] for i in places)]
        broken = not finite and bool(context.broken(view.step, own).any())
        context.out.add(
            name,
            value if finite else np.nan,
            step=view.step,
            perturbation=perturbation,
            reason="" if finite else DIVERGED if broken else METRIC_NOT_FINITE,
        )
        if end:
            context.numbers[perturbation][f"final_{name}"] = value


def _pair_rows(context: MetricContext, name: str, view: MomentView, found: Any) -> None:
    count = len(view.labels)
    values, own = _shaped(name, found, (count, count)), owners(view.labels)
    first, second = np.triu_indices(count, 1)
    finite = np.isfinite(values[first, second])
    broken = np.zeros(count, bool) if finite.all() else context.broken(view.step, view.labels)
    why = np.where(broken[first] | broken[second], DIVERGED, METRIC_NOT_FINITE)
    context.out.add(
        name,
        np.where(finite, values[first, second], np.nan),
        step=view.step,
        # A pair belongs to a perturbation if both do, or one is the reference.
        perturbation=np.where((first == 0) | (own[first] == own[second]), own[second], ""),
        a=object_array(view.labels)[first],
        b=object_array(view.labels)[second],
        reason=np.where(finite, "", why),
    )


def _shaped(name: str, found: Any, shape: tuple[int, ...]) -> Array:
    values = np.asarray(found, dtype=np.float64)
    if values.shape != shape:
        right = f"an array of shape {shape}" if shape else "a number"
        raise RequestError(
            f"metric {name!r} returned an array of shape {values.shape}: return {right}"
        )
    return values
