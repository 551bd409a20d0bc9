"""What the first screen of a run's page says: the answer with its doubt, a row a perturbation."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import pandas as pd

from wingbeat.measure.metric import Definition
from wingbeat.measure.verdict import Verdict
from wingbeat.report.pages.notebook import value_text
from wingbeat.report.prose import interval, number, percent, plural
from wingbeat.report.result_access import (
    REFERENCE,
    ResultLike,
    as_float,
    entry,
    first_name,
    labels_in,
    names,
    owner,
    rows,
)
from wingbeat.report.verdict_text import alarms, copies, headline, read, remarks, verdict

ROWS_SHOWN: Final = 5
"""Perturbations in the first screen; the others are folded away below them."""


class AnswerColumn(NamedTuple):
    """A column of the table: its head, and the identifier of the definition it links to."""

    head: str
    term: str


class AnswerCell(NamedTuple):
    """A cell: its value, and its doubt or range below it."""

    value: str
    below: str = ""


class Answers(NamedTuple):
    """The table: a row for each perturbation, after it the reference where it has a value."""

    columns: tuple[AnswerColumn, ...]
    rows: tuple[tuple[AnswerCell, ...], ...]
    folded: tuple[tuple[AnswerCell, ...], ...]

    @property
    def every(self) -> tuple[tuple[AnswerCell, ...], ...]:
        """All rows, the reference last."""
        last = tuple(row for row in self.rows if row[0].value == REFERENCE)
        return (*(row for row in self.rows if row not in last), *self.folded, *last)


def answer(result: ResultLike) -> tuple[str, str]:
    """Return the headline in two: what happened, and what it must not be read without."""
    found = read(result, first_name(result))
    warned = ["Read the warning first."] if alarms(result) else []
    whole, rest = headline(result), " ".join([*remarks(found), *warned])
    return whole.removesuffix(rest).rstrip(), rest


def extent(result: ResultLike) -> str:
    """Return how far the copies of the first perturbation went apart or together, with its doubt.

    "" where the convergence ratio is not defined: the headline says why.
    """
    name = first_name(result)
    ratio, found = entry(result, "convergence_ratio", name), read(result, name)
    if not ratio.defined or not name:
        return ""
    doubt = f" (95 % interval {interval(ratio)})" if ratio.has_interval else ", without an interval"
    grew = f"; {found.grown} of {found.copies} grew" if found.copies else ""
    return (
        f"{_after(result, name)}the copies of {name} lie {number(ratio.value)} times as far from "
        f"one another as right after the nudge{doubt}{grew}."
    )


def _after(result: ResultLike, name: str) -> str:
    asked = _asked(result, name)
    begun, last = as_float(asked.get("at")), max(result.steps, default=0)
    steps = plural(round(last - begun), "step") if begun < last else ""
    return f"{steps} on, " if steps else ""


def others(result: ResultLike) -> str:
    """Return how the verdicts on all perturbations fall out, "" where there is only one."""
    every = [verdict(result, name) for name in names(result)]
    if len(every) < 2:
        return ""
    counts = {word: every.count(word) for word in dict.fromkeys(every)}
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"Of {len(every)} perturbations: {said}."


def answers(result: ResultLike, terms: Mapping[str, str]) -> Answers:
    """Return the table of the first screen.

    Args:
        result: what to read.
        terms: identifier of each definition by its term.
    """
    kept = [c for c in _COLUMNS if c.there(result)]
    columns = tuple(AnswerColumn(c.head, _definition(c.term, terms)) for c in kept)
    found = tuple(tuple(c.cell(result, name) for c in kept) for name in names(result))
    own = tuple(c.reference(result) for c in kept)
    last = (own,) if found and any(cell.value != "–" for cell in own[1:]) else ()
    return Answers(columns, (*found[:ROWS_SHOWN], *last), found[ROWS_SHOWN:])


def _definition(term: str, terms: Mapping[str, str]) -> str:
    return next((place for known, place in terms.items() if term and term in known), "")


def term_places(definitions: Sequence[Definition]) -> dict[str, str]:
    """Return the identifier under which each term stands on the page.

    >>> term_places([Definition("spread", "", "")])
    {'spread': 'def-1'}
    """
    return {found.term: f"def-{place}" for place, found in enumerate(definitions, start=1)}


class _Column(ABC):
    """A column: its head, its term, and its cells."""

    head = term = ""

    def there(self, result: ResultLike) -> bool:
        """Tell whether the result has anything for it."""
        return True

    @abstractmethod
    def cell(self, result: ResultLike, name: str) -> AnswerCell:
        """Return the cell of a perturbation."""

    def reference(self, result: ResultLike) -> AnswerCell:
        """Return the cell of the reference."""
        return AnswerCell("–")


class _Name(_Column):
    head = "perturbation"
    term = "reference, replica"

    def cell(self, result: ResultLike, name: str) -> AnswerCell:
        """Return the name."""
        return AnswerCell(name)

    def reference(self, result: ResultLike) -> AnswerCell:
        """Return that of the reference."""
        return AnswerCell(REFERENCE, "not perturbed")


class _Size(_Column):
    head = "size (L2)"
    term = "size of a perturbation"

    def cell(self, result: ResultLike, name: str) -> AnswerCell:
        """Return how far the nudge moved the weights."""
        sizes = (_asked(result, name).get("realised") or {}).get("l2") or ()
        return _range([v for v in map(as_float, sizes) if math.isfinite(v)], number)


class _At(_Column):
    head = "at step"

    def cell(self, result: ResultLike, name: str) -> AnswerCell:
        """Return the step of the nudge."""
        at = as_float(_asked(result, name).get("at"))
        return AnswerCell(f"{at:,.0f}" if math.isfinite(at) else "–")


class _Word(_Column):
    head = "verdict"
    term = "verdict"

    def cell(self, result: ResultLike, name: str) -> AnswerCell:
        """Return the verdict."""
        return AnswerCell(verdict(result, name))


class _Scalar(_Column):
    def __init__(self, head: str, key: str, term: str, unit: str = "") -> None:
        self.head, self.key, self.term, self.unit = head, key, term, unit

    def there(self, result: ResultLike) -> bool:
        """Tell whether any perturbation has it."""
        return any(f"{name}/{self.key}" in result.summary for name in names(result))

    def cell(self, result: ResultLike, name: str) -> AnswerCell:
        """Return the scalar with its interval, or why it is undefined."""
        found = entry(result, self.key, name)
        if not found.defined:
            _, _, why = value_text(result, self.key, name).partition(" ")
            return AnswerCell("undefined", why.strip("()"))
        say = percent if self.unit == "%" else number
        doubt = f"{say(found.low)} to {say(found.high)}" if found.has_interval else ""
        return AnswerCell(say(found.value) + (self.unit if self.unit != "%" else ""), doubt)


class _Grew(_Column):
    head = "grew"
    term = "copies that grew"

    def there(self, result: ResultLike) -> bool:
        """Tell whether any perturbation has it."""
        return any(read(result, name).copies for name in names(result))

    def cell(self, result: ResultLike, name: str) -> AnswerCell:
        """Return how many copies grew."""
        found: Verdict = read(result, name)
        return AnswerCell(copies(found)[0])


class _Accuracy(_Column):
    head = "accuracy"
    term = "accuracy"

    def there(self, result: ResultLike) -> bool:
        """Tell whether any perturbation has it."""
        return bool(len(self._last(result)))

    def _last(self, result: ResultLike) -> pd.DataFrame:
        frame = rows(result, "accuracy")
        last: pd.DataFrame = frame[frame["step"] == frame["step"].max()]
        return last

    def cell(self, result: ResultLike, name: str) -> AnswerCell:
        """Return the accuracy of the copies at the last step."""
        frame = self._last(result)
        mine = [label for label in labels_in(frame) if owner(result, label) == name]
        return _shares(frame[frame["b"].isin(mine)])

    def reference(self, result: ResultLike) -> AnswerCell:
        """Return that of the reference."""
        frame = self._last(result)
        return _shares(frame[frame["b"] == REFERENCE])


_COLUMNS: Final[tuple[_Column, ...]] = (
    _Name(),
    _Size(),
    _At(),
    _Word(),
    _Scalar("ratio", "convergence_ratio", "convergence ratio", " ×"),
    _Grew(),
    _Accuracy(),
    _Scalar("disagreement", "final_disagreement", "disagreement", "%"),
    _Scalar("loss barrier", "final_barrier_train", "barrier"),
)


def _asked(result: ResultLike, name: str) -> Mapping[str, Any]:
    return next((p for p in result.perturbations if p.get("name") == name), {})


def _shares(frame: pd.DataFrame) -> AnswerCell:
    return _range([float(v) for v in frame["value"] if math.isfinite(v)], percent)


def _range(values: Sequence[float], say: Any) -> AnswerCell:
    """Return the mean of the copies and their range."""
    if not values:
        return AnswerCell("–")
    mean, low, high = (say(v) for v in (sum(values) / len(values), min(values), max(values)))
    return AnswerCell(mean, f"{low} to {high}" if low != high else "")
