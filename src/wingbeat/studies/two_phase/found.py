"""What the runs of all base seeds say together: tables of estimates, written as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import CONSTANT, NOT_REACHED, TOO_FEW_SEEDS
from wingbeat.metrics.change import Change, change
from wingbeat.stats import Estimate
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, estimate_columns, estimate_in, over_seeds
from wingbeat.study.ledger import Ledger
from wingbeat.study.ranges import AT_LEAST_0, DIFFERENCE, SHARE, Range
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.study.outcome import StudyResult

Numbers = dict[str, float]
"""What `measure` stored of one base seed."""
COURSES: Final = {
    "sensitivity": "disagreement of nudged copies",
    "turn": "turn of the kernel",
    "centred_turn": "turn of the centred kernel",
    "way": "turn of the weights",
    "turn_per_way": "turn of the kernel ÷ that of the weights",
}
"""Quantities by moment, each over equal time from there on."""


PAIRS_APART: Final = {"disagreement": SHARE, "dissimilarity": AT_LEAST_0, "barrier": AT_LEAST_0}
"""How far a copy is from its reference, and what that can be."""
OPENING: Final[Range] = (0.0, 90.0)
"""Angle between two kernels in degrees: neither has a negative eigenvalue."""


@dataclass(frozen=True)
class Runs:
    """The numbers of all base seeds, and the axes that they share.

    Attributes:
        numbers: one for each base seed, in their order.
        forks: steps at which copies were nudged.
        elapsed: updates between a nudge and the look at it.
        end: updates in all.
    """

    numbers: tuple[Numbers, ...]
    forks: tuple[int, ...]
    elapsed: int
    end: int

    def each(self, name: str) -> Array:
        """Return one number of every base seed."""
        return np.array([n.get(name, np.nan) for n in self.numbers])

    def over(self, name: str, within: Range = AT_LEAST_0) -> Estimate:
        """Return the mean of one number over base seeds, its interval inside its range."""
        return over_seeds(self.each(name), reason=NOT_REACHED, within=within)

    def has(self, name: str) -> bool:
        """Tell whether some base seed has a number: what was not asked for has none."""
        return any(name in own for own in self.numbers)

    def names(self, prefix: str) -> list[tuple[int, ...]]:
        """Return what stands behind ``prefix/`` in the names, as numbers, ascending.

        >>> Runs(({"a/8/16": 1.0, "a/0/8": 2.0, "b/1": 0.0},), (0,), 8, 16).names("a")
        [(0, 8), (8, 16)]
        """
        own = (n.split("/") for n in self.numbers[0])
        return sorted(tuple(int(x) for x in rest) for name, *rest in own if name == prefix and rest)

    def course(self, name: str) -> Array:
        """Return a quantity by moment, (seeds, forks): see ``COURSES``."""
        if name == "turn_per_way":
            return self.course("turn") / self.course("way")
        if name == "way":
            return self._stack(lambda t: f"way/{t}")
        if name == "sensitivity":
            least = self.each("resolution")[:, None]
            return np.asarray(
                np.fmax(self._stack(lambda t: f"disagreement/{t}/{t + self.elapsed}"), least)
            )
        return self._stack(lambda t: f"{name}/{self.elapsed}/{t}")

    def change(self, name: str) -> Change:
        """Return how a quantity falls along the moments, in doublings; see `change`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return change(np.log2(self.course(name)))

    def moments(self, name: str) -> Array:
        """Return log₂ of the step at which each base seed's quantity falls; NaN where it does not.

        Forks lie one doubling apart; before the first after the start it is counted as one more.
        """
        return np.asarray(self.change(name).place - 1 + np.log2(self.forks[1]))

    def _stack(self, name: Callable[[int], str]) -> Array:
        return np.stack([self.each(name(t)) for t in self.forks], axis=1)


def read(plan: Any, study: StudyResult) -> Runs:  # noqa: ARG001 (the skeleton's signature)
    """Return the numbers of the finished base seeds, without those that are undefined.

    Those of the training whose rate falls stand beside the others of its base seed, as
    ``dropped_…``; a base seed counts once its training at one rate is done.
    """
    ledger = Ledger(study.folder)
    rows = done(study).sort_values("seed")
    rate = rows["rate"] if "rate" in rows else pd.Series("constant", index=rows.index)
    facts = [ledger.facts(key) for key in rows["key"][rate == "constant"]]
    after = {
        seed: _numbers(ledger.facts(key), "dropped_")
        for seed, key in rows[rate == "dropped"][["seed", "key"]].itertuples(index=False)
    }
    seeds = rows["seed"][rate == "constant"]
    numbers = tuple(
        {**_numbers(one), **after.get(seed, {})} for seed, one in zip(seeds, facts, strict=True)
    )
    forks = sorted(int(n.split("/")[1]) for n in facts[0]["summary"] if n.startswith("nudge/"))
    return Runs(numbers, tuple(forks), int(numbers[0]["elapsed"]), int(facts[0]["steps"]))


def _numbers(facts: dict[str, Any], prefix: str = "") -> Numbers:
    return {
        f"{prefix}{name}": float(entry["value"])
        for name, entry in facts["summary"].items()
        if isinstance(entry.get("value"), int | float)
    }


def tables(found: Analysis) -> Tables:
    """Return every table of the study."""
    runs: Runs = found.own
    return {
        "marks": pd.DataFrame(list(_marks(runs))),
        "chaos": pd.DataFrame(list(_chaos(runs))),
        "course": pd.DataFrame(list(_course(runs))),
        "kernel_map": pd.DataFrame(list(_kernel_map(runs))),
        "kernel_norm": pd.DataFrame(list(_norms(runs))),
        "structure": pd.DataFrame(list(_structure(runs))),
        "linearised": pd.DataFrame(list(_linearised(runs))),
        **({"at_rest": pd.DataFrame(rest)} if (rest := list(_rest(runs))) else {}),
    }


def mark(found: Analysis, name: str) -> Estimate:
    """Return one number of the table ``marks`` with its interval."""
    marks = found.tables["marks"]
    return estimate_in(marks[marks["name"] == name].iloc[0], "found")


def _marks(runs: Runs) -> Iterable[dict[str, Any]]:
    """Yield the numbers that claims are about."""

    def row(name: str, values: Array, reason: str = NOT_REACHED) -> dict[str, Any]:
        found = over_seeds(values, reason=reason, within=_limits(name))
        return {"name": name, **estimate_columns("found", found)}

    alone = CONSTANT if len(runs.numbers) > 1 else TOO_FEW_SEEDS
    for name in COURSES:
        own = runs.change(name)
        yield row(f"{name}_fall", own.fall, alone)
        yield row(f"{name}_sharpness", own.sharpness, alone)
        yield row(f"{name}_doublings", runs.moments(name))
    yield row("doublings_apart", runs.moments("sensitivity") - runs.moments("turn"))
    for name in ("slope", "centred_slope", "growth", "full"):
        yield row(name, runs.each(name))
    for name in ("plateau", "centred_plateau"):
        yield row(f"{name}_degrees", degrees(runs.each(name)))
    yield row("gap_at_start", runs.each("full") - runs.each("linearised/0"))
    late = runs.forks[-1]
    half = max(t for t in runs.forks if t <= runs.end / 4)
    yield row("gap_at_quarter", runs.each("full") - runs.each(f"linearised/{half}"))
    yield row("gain_at_quarter", runs.each(f"linearised/{half}") - runs.each(f"stopped/{half}"))
    yield row("barrier_first", runs.each(f"barrier/0/{runs.end}"))
    yield row("barrier_last", runs.each(f"barrier/{late}/{runs.end}"))
    yield from (row(name, values) for name, values in at_rest(runs).items())


def _limits(mark: str) -> Range | None:
    """Return what a number of the table of marks can be; None without limits."""
    if mark in ("full", "dropped_full"):
        return SHARE
    if mark.startswith(("gap_", "gain_")):
        return DIFFERENCE
    if mark.startswith("barrier_") or mark == "growth":
        return AT_LEAST_0
    return OPENING if mark.endswith("_degrees") else None


def at_rest(runs: Runs) -> dict[str, Array]:
    """Return what averages of weights and a drop of the rate say, by base seed, where asked for.

    ``…_fall`` are doublings: by which 1 − cosine of averages lies below that of single records, the
    turn of the kernel per turn of the weights after a drop below that at the full rate, and the
    way to the kernel after a drop from an average below that from a record.
    """
    found: dict[str, Array] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for prefix in ("", "centred_"):
            for name in ("single", "average", "late", "dropped_late"):
                own = f"dropped_{prefix}late" if name == "dropped_late" else f"{prefix}{name}"
                if runs.has(f"{own}_plateau"):
                    found[f"{own}_slope"] = runs.each(f"{own}_slope")
                    found[f"{own}_plateau_degrees"] = degrees(runs.each(f"{own}_plateau"))
            if runs.has(f"{prefix}average_plateau"):
                single, mean = (runs.each(f"{prefix}{n}_plateau") for n in ("single", "average"))
                found[f"{prefix}average_fall"] = np.log2(single / mean)
            if runs.has("dropped_late_way"):
                way = runs.each("late_way") / runs.each("dropped_late_way")
                turn = runs.each(f"{prefix}late_turn") / runs.each(f"dropped_{prefix}late_turn")
                found[f"dropped_{prefix}turn_per_way_fall"] = np.log2(turn / way)
        if runs.has("dropped_to_average"):
            to = [runs.each(f"dropped_to_{name}") for name in ("single", "average")]
            found["dropped_to_average_fall"] = np.log2(to[0] / to[1])
            found["dropped_full"] = runs.each("dropped_full")
    return found


def degrees(distance: Array) -> Array:
    """Return the angle of 1 − cosine in degrees.

    >>> degrees(np.array([0.0, 0.5])).round(6).tolist()
    [0.0, 60.0]
    """
    return np.asarray(np.degrees(np.arccos(1 - distance)))


def _chaos(runs: Runs) -> Iterable[dict[str, Any]]:
    for quantity in PAIRS_APART:
        for at, end in runs.names(quantity):
            found = runs.over(f"{quantity}/{at}/{end}", PAIRS_APART[quantity])
            yield {"quantity": quantity, "nudged_at": at, "seen_at": end,
                   **estimate_columns("mean", found)}  # fmt: skip


def _course(runs: Runs) -> Iterable[dict[str, Any]]:
    for name in COURSES:
        for place, at in enumerate(runs.forks):
            found = over_seeds(runs.course(name)[:, place], reason=NOT_REACHED, within=AT_LEAST_0)
            yield {"quantity": name, "step": at, "elapsed": runs.elapsed,
                   **estimate_columns("mean", found)}  # fmt: skip
    for prefix in ("turn", "centred_turn"):
        for dt, at in runs.names(prefix):
            if dt != runs.elapsed:
                yield {"quantity": prefix, "step": at, "elapsed": dt,
                       **estimate_columns("mean", runs.over(f"{prefix}/{dt}/{at}"))}  # fmt: skip


def _kernel_map(runs: Runs) -> Iterable[dict[str, Any]]:
    for first, second in runs.names("angle"):
        row: dict[str, Any] = {"first": first, "second": second}
        for name in ("angle", "centred_angle"):
            values = np.degrees(runs.each(f"{name}/{first}/{second}"))
            row |= estimate_columns(f"{name}_degrees", over_seeds(values, within=OPENING))
        yield row


def _norms(runs: Runs) -> Iterable[dict[str, Any]]:
    for (at,) in runs.names("norm"):
        yield {"step": at, **estimate_columns("norm", runs.over(f"norm/{at}"))}


def _structure(runs: Runs) -> Iterable[dict[str, Any]]:
    for (dt,) in runs.names("structure"):
        row: dict[str, Any] = {"dt": dt}
        for name in ("structure", "centred_structure"):
            row |= estimate_columns(name, runs.over(f"{name}/{dt}"))
        yield row


def _rest(runs: Runs) -> Iterable[dict[str, Any]]:
    """Yield structure functions of averages, single records beside them, and either rate."""
    for name in ("single", "average", "late", "dropped_late"):
        for (dt,) in runs.names(f"{name}_structure"):
            centred = "dropped_centred_late" if name == "dropped_late" else f"centred_{name}"
            row: dict[str, Any] = {"of": name, "dt": dt}
            for column, own in (("structure", name), ("centred_structure", centred)):
                row |= estimate_columns(column, runs.over(f"{own}_structure/{dt}"))
            yield row


def _linearised(runs: Runs) -> Iterable[dict[str, Any]]:
    for at in runs.forks:
        row: dict[str, Any] = {"at": at}
        for name in ("linearised", "stopped"):
            row |= estimate_columns(name, runs.over(f"{name}/{at}", SHARE))
        gap = runs.each("full") - runs.each(f"linearised/{at}")
        yield {**row, **estimate_columns("gap", over_seeds(gap, within=DIFFERENCE))}
