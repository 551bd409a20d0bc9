"""What the study has found, by measurement: estimates, curves, and one tidy table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from wingbeat.errors import NOT_TRAINED
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.stats import Estimate
from wingbeat.studies.danovski.plan import DanovskiOptions, Experiment, condition
from wingbeat.study.ledger import Ledger

if TYPE_CHECKING:
    from wingbeat.studies.danovski.plan import DanovskiPlan
    from wingbeat.study.outcome import StudyResult

COLUMNS: Final = (
    "experiment",
    "eta",
    "epsilon",
    "quantity",
    "x",
    "value",
    "low",
    "high",
    "n",
    "reason",
)


@dataclass(frozen=True)
class DanovskiMeasurement:
    """One finished measurement.

    Attributes:
        options: what was asked.
        content: estimates by name, with ``n``; those of curves are named ``curve/NAME/x``.
    """

    options: DanovskiOptions
    content: dict[str, dict[str, Any]]

    def __getitem__(self, name: str) -> Estimate:
        """Return an estimate; undefined (``not_trained``) if it was not measured."""
        found = self.content.get(name)
        if found is None:
            return Estimate.undefined(NOT_TRAINED)
        value, low, high = (_number(found.get(part)) for part in ("value", "low", "high"))
        why = (found.get("reason", ""), found.get("interval_reason", ""))
        return Estimate(value, low, high, *why)

    def count(self, name: str) -> int:
        """Return over how many initialisations an estimate was taken."""
        return int(self.content.get(name, {}).get("n", 0))

    def text(self, name: str) -> str:
        """Return value, interval and number of initialisations in words.

        >>> options = DanovskiOptions("series", 5.0, 1, 9)
        >>> DanovskiMeasurement(options, {"a": {"value": 2.0, "n": 7}}).text("a")
        '2 (n = 7)'
        """
        return f"{estimate_text(self[name])} (n = {self.count(name)})"

    def curve(self, name: str) -> list[tuple[float, Estimate]]:
        """Return the points of a curve in the order in which they were measured."""
        head = f"curve/{name}/"
        return [(float(k[len(head) :]), self[k]) for k in self.content if k.startswith(head)]


class DanovskiFindings:
    """The finished measurements of a plan.

    Args:
        plan: what was asked.
        study: what is done.
    """

    def __init__(self, plan: DanovskiPlan, study: StudyResult) -> None:
        self.plan, ledger = plan, Ledger(study.folder)
        done = ledger.done()
        keyed = [(condition(options).key, options) for options in plan.options]
        self.measured = [
            DanovskiMeasurement(options, ledger.facts(key)["summary"])
            for key, options in keyed
            if key in done
        ]

    def all(self, experiment: Experiment) -> list[DanovskiMeasurement]:
        """Return the measurements of one kind, in the order of the plan."""
        return [m for m in self.measured if m.options.experiment == experiment]

    def one(
        self, experiment: Experiment, eta: float, epsilon: float | None = None
    ) -> DanovskiMeasurement:
        """Return a measurement; one without content if it is not done."""
        for found in self.all(experiment):
            if found.options.eta == eta and epsilon in (None, found.options.epsilon):
                return found
        return DanovskiMeasurement(DanovskiOptions("series", eta, 1, 1), {})

    def largest(self, name: str) -> float:
        """Return the largest value of an estimate over all measurements, such as ``map_error``."""
        return max((m[name].value for m in self.measured), default=float("nan"))

    @cached_property
    def table(self) -> pd.DataFrame:
        """Every estimate and every point of a curve, one row each; NaN where undefined."""
        rows = [row for found in self.measured for row in _rows(found)]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(found: DanovskiMeasurement) -> list[tuple[Any, ...]]:
    asked = found.options
    rows = []
    for name, content in found.content.items():
        if not isinstance(content.get("n"), int):
            continue  # of the engine's run beside it, which the study's own table holds
        quantity, x = name, float("nan")
        if name.startswith("curve/"):
            _, quantity, place = name.split("/")
            x = float(place)
        e = found[name]
        numbers = (e.value, e.low, e.high, int(content["n"]), e.reason)
        rows.append((asked.experiment, asked.eta, asked.epsilon, quantity, x, *numbers))
    return rows


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
