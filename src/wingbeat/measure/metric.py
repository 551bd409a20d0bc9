"""What a metric is: one declaration with everything that anybody asks of it.

The engine, the request, the report, the command line and the documentation read the declaration;
none of them knows a metric by name. A metric of one's own is one function with a decorator::

    from math import inf
    import numpy as np
    from wingbeat.measure import metric

    @metric("l1", needs="weights", unit="weight", range=(0, inf), direction="0 = identical",
            caption="Sum of |w - w_ref| over all trainable weights", compares=True)
    def l1(view):
        return sum(np.abs(block - block[0]).sum(axis=1) for _, block in view.blocks())

    wb.run(task, wb.Gaussian(0.01), metrics=["l2", l1])

A package announces its own under the entry point ``wingbeat.metrics``, and then everybody who has
it installed can ask for ``metrics=["l1"]``, also in study files and on the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from wingbeat.errors import RequestError, nearest
from wingbeat.plugins import Registry, origin
from wingbeat.task.describe import code_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wingbeat.measure.accumulate import Accumulator

Needs = Literal["weights", "losses", "outputs", "activations", "models"]
"""What is read: snapshots, recorded losses, predictions on the evaluation data, activations of the
layers on some of them, or the models themselves, run anew."""
Per = Literal["replica", "perturbation", "layer", "pair", "run"]
"""What one value belongs to."""
UNORDERED: Final = 1000
"""Place of a metric that does not say where it stands in a list: after the built-in ones."""


@dataclass(frozen=True)
class Curve:
    """The figure of a metric with one value per replica or perturbation: lines over training.

    Attributes:
        row: the rows that are drawn; "" those with the metric's own name.
        label: in titles, as "training loss"; "" the metric's.
        axis: along the value axis, with the unit; "" made from label and unit.
        caption: what is drawn, as one sentence without its full stop; "" the metric's.
        log: whether values above 0 that cross more than a decade get a logarithmic axis.
        reference: whether the reference's own value is a finding.
    """

    row: str = ""
    label: str = ""
    axis: str = ""
    caption: str = ""
    log: bool = False
    reference: bool = True


@dataclass(frozen=True)
class Definition:
    """A term of the report, its formula in plain text, and what it means."""

    term: str
    formula: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a metric name stands for.

    Attributes:
        name: as in ``wb.run(metrics=…)`` and in the table.
        function: adds the rows of a run to the table, see `MetricContext`. Of a metric that needs
            "outputs" it is called once for each recorded step, of others once for the run.
        needs: what it is computed from. "outputs" costs a pass over the evaluation data at every
            snapshot; what "activations" and "models" cost, ``cost`` says.
        per: what one value belongs to.
        unit: of the value.
        range: smallest and largest value.
        direction: how to read it, as "0 = identical".
        compares: whether a replica is compared with the reference, which has no value itself.
        label: in titles and columns; by default the name in words.
        caption: what it is, as one sentence without its full stop.
        source: where its definition comes from.
        cost: what it takes besides reading the snapshots, in words.
        rows: the names under which its rows stand in the table; by default its own.
        summary: the names of its scalars in the summary.
        figure: how it is drawn; None if it has no figure or one that the report makes itself.
        definitions: terms that the report explains.
        accumulate: for "outputs": makes what class scores are added to, batch by batch.
        default: whether a run that asks for nothing measures it; one that needs "outputs" only
            where there are evaluation data.
        order: place in lists, lower first.
        declared: the function of one's own, where ``function`` is made from it.
        requires: "module: what to do" of an optional package that it needs; a run that asks for the
            metric where the module is missing is refused before anything is computed.
    """

    name: str
    function: Callable[[Any], None]
    needs: Needs
    per: Per
    unit: str
    range: tuple[float, float]
    direction: str
    caption: str
    compares: bool = False
    label: str = ""
    source: str = ""
    cost: str = ""
    rows: tuple[str, ...] = ()
    summary: tuple[str, ...] = ()
    figure: Curve | None = None
    definitions: tuple[Definition, ...] = ()
    accumulate: Callable[[Mapping[str, list[int]]], Accumulator] | None = None
    default: bool = False
    order: int = UNORDERED
    declared: Callable[..., Any] | None = None
    requires: str = ""

    def __post_init__(self) -> None:
        self._require("needs", self.needs, get_args(Needs))
        self._require("per", self.per, get_args(Per))
        low, high = self.range
        if not low <= high:
            raise RequestError(
                f"metric {self.name!r}: range is {self.range}: give (smallest, largest)"
            )
        object.__setattr__(self, "rows", self.rows or (self.name,))
        object.__setattr__(self, "label", self.label or self.name.replace("_", " "))

    @property
    def by_default(self) -> str:
        """When a run that asks for nothing measures it, in words; "" for never."""
        if not self.default:
            return ""
        return "with evaluation data" if self.needs == "outputs" else "yes"

    def _require(self, field: str, value: str, known: tuple[str, ...]) -> None:
        if value not in known:
            raise RequestError(
                f"metric {self.name!r}: {field} is {value!r}: {nearest(str(value), known)}"
            )

    def __call__(self, context: Any) -> None:
        """Add its rows to a `MetricContext`."""
        self.function(context)


METRICS: Final[Registry[Metric]] = Registry(
    "wingbeat.metrics",
    "metric",
    lambda found: isinstance(found, Metric),
    "wingbeat.measure.builtin",
)
"""Every metric by name."""


def metric_of_run(name: str, **facts: Any) -> Callable[[Callable[[Any], None]], Metric]:
    """Declare a metric whose function is given the whole run and adds the rows itself.

    Args:
        name: as it is asked for.
        **facts: the other fields of `Metric`.

    Raises:
        RequestError: the name is taken.
    """

    def declare(function: Callable[[Any], None]) -> Metric:
        return METRICS.add(name, Metric(name=name, function=function, **facts))

    return declare


def in_order() -> tuple[Metric, ...]:
    """Return every metric that can be asked for, in the order of lists."""
    return tuple(sorted(METRICS.all().values(), key=lambda found: (found.order, found.name)))


def scalars_of_evaluation(own: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the built-in metrics that give each replica one number on the evaluation data.

    Args:
        own: names of the task's evaluation metrics, which come after them.

    >>> scalars_of_evaluation(["f1"])
    ('eval_loss', 'accuracy', 'f1')
    """
    built_in = (m for m in known_here() if origin(m).startswith("wingbeat."))
    return (*(m.name for m in built_in if is_scalar_of_evaluation(m)), *own)


def is_scalar_of_evaluation(found: Metric) -> bool:
    """Tell whether a metric gives each replica, the reference too, one number of its outputs."""
    return found.needs == "outputs" and found.per == "replica" and not found.compares


def known_here() -> tuple[Metric, ...]:
    """Return the metrics that this process has loaded by now, in the order of lists."""
    return tuple(sorted(METRICS, key=lambda found: (found.order, found.name)))


def default_names(*, evaluated: bool = False) -> tuple[str, ...]:
    """Return what is measured when nothing is asked for.

    Args:
        evaluated: whether there are evaluation data. Without them it is what evaluates no model.

    >>> default_names()[:3]
    ('l2', 'relative_l2', 'cosine')
    >>> default_names(evaluated=True)[-3:]
    ('eval_loss', 'accuracy', 'disagreement')
    """
    usual = (found for found in known_here() if found.default)
    return tuple(found.name for found in usual if evaluated or found.needs != "outputs")


def chosen_names(
    asked: Iterable[str | Metric] | str | Metric, own: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the names of the metrics that were asked for, if all of them are known.

    Args:
        asked: names, ``module:attribute``, or declared metrics, which are then known by name.
        own: names of the task's evaluation metrics.

    Raises:
        RequestError: one is unknown (the message suggests the nearest), or no metric.

    Example:
        >>> chosen_names(["l2", METRICS.find("spread")])
        ('l2', 'spread')
    """
    asked, own = [asked] if isinstance(asked, str | Metric) else list(asked), tuple(own)
    return tuple(dict.fromkeys(_name(one, own) for one in asked))


def _name(asked: object, own: tuple[str, ...]) -> str:
    if isinstance(asked, Metric):
        return _usable(METRICS.add(asked.name, asked)).name
    if not isinstance(asked, str):
        raise RequestError(
            f"metric {asked!r} is {type(asked).__name__}: give a name, or a function declared with "
            "wingbeat.measure.metric"
        )
    if asked in own:
        return asked
    if asked not in METRICS and ":" not in asked:
        known = {*METRICS.names(), *own}
        raise RequestError(f"unknown metric {asked!r}: {nearest(asked, known)}")
    found = METRICS.find(asked)
    return _usable(METRICS.add(found.name, found)).name


def _usable(found: Metric) -> Metric:
    """Return a metric, if the optional package that it needs is installed."""
    module, _, advice = found.requires.partition(": ")
    if module and find_spec(module) is None:
        raise RequestError(f"metric {found.name!r} needs the package {module}: {advice}")
    return found


def needs_evaluation(names: Iterable[str], own: Iterable[str]) -> list[str]:
    """Return those of some metrics that need a pass over the evaluation data.

    Args:
        names: checked names.
        own: names of the task's evaluation metrics.
    """
    own = set(own)
    return [name for name in names if name in own or METRICS.find(name).needs == "outputs"]


def own_codes(names: Iterable[str]) -> dict[str, str]:
    """Return a digest of the code of every metric that was made with `metric`, by name."""
    known = METRICS.registered()
    declared = {name: known[name].declared for name in names if name in known}
    return {
        name: code_digest(function)
        for name, function in declared.items()
        if function is not None and not (function.__module__ or "").startswith("wingbeat.")
    }
