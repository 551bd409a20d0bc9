"""Every word and number of the page outside its figures, ready for the template."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wingbeat.measure.scalars import SCALARS
from wingbeat.measure.verdict import Verdict
from wingbeat.report.figures.records import MOST_FAMILIES
from wingbeat.report.pages.definitions import bibtex, definitions, run_key, version
from wingbeat.report.pages.first_screen import answer, answers, extent, others, term_places
from wingbeat.report.pages.notebook import value_text
from wingbeat.report.prose import floor_text, interval, no_interval, number, percent, reason
from wingbeat.report.result_access import (
    ResultEntry,
    ResultLike,
    as_float,
    base_seeds,
    entry,
    first_name,
    names,
)
from wingbeat.report.verdict_text import (
    alarms,
    copies,
    limits,
    meaning,
    not_shown,
    read,
    reference,
    verdict,
)
from wingbeat.report.what_was_trained import subject

_LONGEST_TEXT = 400


def texts(result: ResultLike) -> dict[str, Any]:
    """Return every word and number of the page outside the figures."""
    terms = definitions(result)
    places = term_places(terms)
    said = answer(result)
    return {
        "subject": subject(result),
        "alarms": alarms(result),
        "failed": read(result, first_name(result)).training_failed,
        "extent": extent(result),
        "others": others(result),
        "unproven": not_shown(read(result, first_name(result))),
        "answers": answers(result, places),
        "places": places,
        "headline": " ".join(filter(None, said)),
        "happened": said[0],
        "remarks": said[1],
        "verdict": verdict(result),
        "facts": _facts(result),
        "meaning": meaning(result),
        "limits": limits(result),
        "perturbations": [_perturbation(p) for p in result.perturbations],
        "result_heads": [found.column for found in SCALARS],
        "results": [_results(result, name) for name in names(result)],
        "left_out": max(0, len(names(result)) - MOST_FAMILIES),
        "condition": tuple(flat(result.condition)),
        "environment": tuple(flat(result.environment)),
        "definitions": terms,
        "bibtex": bibtex(result),
        "version": version(result),
        "key": run_key(result.condition),
        "row_count": f"{len(result.table):,}",
        "metrics": sorted(str(m) for m in result.table["metric"].unique()),
    }


def _facts(result: ResultLike) -> list[dict[str, str]]:
    """Return the numbers beside the headline: name, value, and what stands below it."""
    found = read(result, first_name(result))
    ratio = entry(result, "convergence_ratio", first_name(result))
    floor = floor_text(result.noise_floor).partition(": ")[2]
    counts = [int(p.get("replicas", 0)) for p in result.perturbations]
    seeds = len(base_seeds(result))
    each = f", each of {seeds} base seeds" if seeds > 1 else ""
    several = f"in {len(counts)} perturbation{'' if len(counts) == 1 else 's'}{each}"
    facts = (
        ("reference", *reference(found)),
        ("convergence ratio", number(ratio.value), _below(ratio)),
        ("copies that grew", *copies(found)),
        ("exponent λ per step", *_exponent(result, found)),
        ("noise floor", floor, "distance of the unperturbed twin"),
        ("replicas", str(sum(counts)), several),
    )
    return [dict(zip(("name", "value", "below"), fact, strict=True)) for fact in facts]


def _exponent(result: ResultLike, found: Verdict) -> tuple[str, str]:
    """Return the exponent and its interval; none where one rate does not describe the growth."""
    rate = entry(result, "lyapunov", first_name(result))
    if not found.poor_fit:
        return number(rate.value), _below(rate)
    return "none", f"a straight line explains {percent(found.r2)} of ln distance; see Results"


def _below(value: ResultEntry) -> str:
    if not value.defined:
        return reason(value)
    return f"95 % interval {interval(value)}" if value.has_interval else no_interval(value)


def _perturbation(asked: Mapping[str, Any]) -> dict[str, str]:
    realised = asked.get("realised") or {}
    return {
        "name": str(asked.get("name", "")),
        "description": _description(asked),
        "at": str(asked.get("at", "")),
        "replicas": str(asked.get("replicas", "")),
        "l2": _range(realised.get("l2") or ()),
        "changed": _range(realised.get("changed") or (), percent=True),
    }


_SHOWN_ELSEWHERE = frozenset({"name", "kind", "at", "seed", "replicas", "realised", "description"})


def _description(asked: Mapping[str, Any]) -> str:
    """Return the kind of a perturbation with its settings, as far as they are set."""
    if asked.get("description"):
        return str(asked["description"])
    settings = [
        f"{key.replace('_', ' ')} {_leaf(value)}"
        for key, value in asked.items()
        if key not in _SHOWN_ELSEWHERE and value is not None
    ]
    return ", ".join([str(asked.get("kind", "")), *settings])


def _range(values: Sequence[Any], *, percent: bool = False) -> str:
    found = [v for v in map(as_float, values) if math.isfinite(v)]
    if not found:
        return "not recorded"
    low, high = (
        f"{number(100 * v, 4)} %" if percent else number(v) for v in (min(found), max(found))
    )
    return low if low == high else f"{low} to {high}"


def _results(result: ResultLike, name: str) -> dict[str, Any]:
    known = [found for found in SCALARS if f"{name}/{found.name}" in result.summary]
    cells = [(found.column, value_text(result, found.name, name)) for found in known]
    grown = read(result, name)
    if grown.copies:
        cells.insert(0, ("copies that grew", ", ".join(copies(grown))))
    return {"name": name, "verdict": verdict(result, name), "cells": cells}


def flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted path, text) for every leaf of nested JSON; long texts are cut, and say so.

    >>> list(flat({"task": {"steps": 5, "seeds": [1, 2]}}))
    [('task.steps', '5'), ('task.seeds', '1, 2')]
    """
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        for index, inner in enumerate(value):
            yield from flat(inner, f"{path}[{index}]")
    else:
        yield path, _leaf(value)


def _leaf(value: object) -> str:
    if isinstance(value, list | tuple):
        text = ", ".join(str(v) for v in value) or "none"
    elif value is None or value == {}:
        text = "none"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    else:
        text = str(value)
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LONGEST_TEXT]} … ({len(text) - _LONGEST_TEXT:,} more characters)"
