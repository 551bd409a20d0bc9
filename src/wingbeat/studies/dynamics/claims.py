"""The article's claims, each measured and judged under three definitions of spread."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import BELOW_NOISE_FLOOR, TOO_FEW_SEEDS
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.studies.dynamics.estimates import (
    DEFINITION_NAMES,
    FEWEST_SEEDS,
    Definition,
    log_ratios,
    rates,
)
from wingbeat.studies.seedwise import forecast, needed_text
from wingbeat.study.finished import over_seeds
from wingbeat.study.verdicts import FAILS, HOLDS, NOT_RUN, UNDETERMINED, Claim, judge
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.stats import Estimate
    from wingbeat.studies.dynamics.found import DynamicsFindings, Net
    from wingbeat.study.analysis import Analysis
    from wingbeat.study.verdicts import Verdict

COUNTS: Final = {
    "dense": (6, 10, "6 of 10 dense nets converge."),
    "cnn": (1, 5, "1 of 5 CNNs converges."),
    "transformer": (0, 6, "None of 6 transformers converge."),
}
"""Nets that converge and nets in all, as the article says, by family."""


def tested(found: Analysis) -> tuple[Claim, ...]:
    """Return all claims that the study was asked to test, in the article's order."""
    return claims(found.own)


def claims(found: DynamicsFindings) -> tuple[Claim, ...]:
    """Return every claim under every definition of spread."""
    three, five, gpt, bert = (_nets(found, g) for g in ("3-layer", "5-layer", "GPT", "BERT"))
    larger = ("larger-dense", "Larger dense nets converge more.")
    stable = ("larger-transformers", "Larger transformers are more stable.")
    return (
        *(claim for family in COUNTS for claim in _count(found, family)),
        *_size(found, *larger, three, five),
        *_depth(found, three, five),
        *_kinds(found, gpt, bert),
        *_size(found, *stable, gpt, bert),
        *_highest(found),
    )


def _nets(found: DynamicsFindings, group: str) -> list[Net]:
    return [n for n in found.nets if n.architecture.group == group]


def _count(found: DynamicsFindings, family: str) -> Iterator[Claim]:
    said, of, text = COUNTS[family]
    there = next((f for f in found.families if f.family == family), None)
    note = "Nets whose whole interval lies below 1; the range counts open nets too."
    missing = of - len(there.nets) if there else 0
    nothing: Verdict = NOT_RUN
    if missing:
        note += f" {missing} of the {of} were not run and count as open."
    for definition, name in DEFINITION_NAMES.items():
        measured, verdict = "–", nothing
        if there:
            low, open_, _ = there.counts[definition]
            high = low + open_ + missing
            measured = f"{low}" if low == high else f"{low} to {high}"
            verdict = count_verdict(said, low, high)
        yield Claim(f"{family}-count", text, f"{said} of {of}", measured, verdict, note, name)
        note = ""


def count_verdict(said: int, low: int, high: int) -> Verdict:
    """Judge a count that lies for sure between low and high.

    >>> count_verdict(6, 6, 6), count_verdict(6, 0, 2), count_verdict(6, 4, 8)
    ('holds', 'fails', 'undetermined')
    """
    if not low <= said <= high:
        return FAILS
    return HOLDS if low == high else UNDETERMINED


def _judged(
    ident: str,
    text: str,
    note: str,
    measure: Callable[[Definition], Array | None],
    *,
    above: bool,
) -> Iterator[Claim]:
    """Yield a claim that a quantity lies on one side of 0, under each definition.

    What is measured has one value for each base seed; where the claim stays open, the note says
    how many of them would decide it.
    """
    for definition, name in DEFINITION_NAMES.items():
        values = measure(definition)
        found = None if values is None else _estimate(values)
        measured = "–" if found is None else estimate_text(found)
        said = f"{'above' if above else 'below'} 0"
        verdict = judge(found, 0.0, above=above)
        needed = 0
        if verdict == UNDETERMINED and values is not None and np.isfinite(values).all():
            note = " ".join(filter(None, (note, needed_text(values, 0.0))))
            needed = forecast(values, 0.0)
        yield Claim(ident, text, said, measured, verdict, note, name, needed)
        note = ""


def _estimate(values: Array) -> Estimate:
    reason = BELOW_NOISE_FLOOR if values.size else TOO_FEW_SEEDS
    return over_seeds(values, reason=reason)


def _size(
    found: DynamicsFindings, ident: str, text: str, *groups: Sequence[Net]
) -> Iterator[Claim]:
    used = _sized(groups)

    def slope(definition: Definition) -> Array | None:
        """Return the slope of ln ratio against log10 size, the groups kept apart."""
        if not used:
            return None
        x = [np.log10([float(n.architecture.parameters) for n in group]) for group in used]
        y = found.by_seed(
            [n for group in used for n in group], partial(log_ratios, definition=definition)
        )
        centred = np.concatenate([part - part.mean() for part in x])
        return np.asarray(centred @ y / (centred @ centred))

    note = f"Change of ln ratio for ten times the weights, at equal depth or kind.{_few(groups)}"
    return _judged(ident, text, note, slope, above=False)


def _sized(groups: Sequence[Sequence[Net]]) -> list[list[Net]]:
    """Return the nets of each group that can show an effect of size.

    Nets with enough seeds if at least two sizes have them, else all that were run: a value
    without an interval is still shown.
    """
    complete = [[n for n in group if n.complete] for group in groups]
    return [g for g in complete if len(g) > 1] or [list(g) for g in groups if len(g) > 1]


def _few(groups: Sequence[Sequence[Net]]) -> str:
    used = {n.architecture.name for group in _sized(groups) for n in group}
    few = [n.architecture.name for g in groups for n in g if n.architecture.name not in used]
    said = f" Left out, with fewer than {FEWEST_SEEDS} base seeds or alone: {', '.join(few)}."
    return said if few else ""


def _depth(found: DynamicsFindings, three: Sequence[Net], five: Sequence[Net]) -> Iterator[Claim]:
    pairs = _pairs(three, five)
    return _judged(
        "depth",
        "Deeper dense nets converge less: five layers end farther apart than three.",
        "ln ratio of five layers minus that of three, sizes in pairs.",
        lambda definition: _difference(found, pairs, definition),
        above=True,
    )


def _kinds(found: DynamicsFindings, gpt: Sequence[Net], bert: Sequence[Net]) -> Iterator[Claim]:
    every = _pairs(gpt, bert)
    pairs = [p for p in every if p[0].complete and p[1].complete] or every
    sizes = ", ".join(first.architecture.name.split()[1] for first, _ in pairs)
    return _judged(
        "bert-gpt",
        "BERT-like transformers are less stable than GPT-like ones.",
        f"ln ratio of BERT minus that of GPT, sizes in pairs: {sizes or 'none'}.",
        lambda definition: _difference(found, pairs, definition),
        above=True,
    )


def _pairs(first: Sequence[Net], second: Sequence[Net]) -> list[tuple[Net, Net]]:
    other = {n.architecture.size: n for n in second}
    return [(n, other[n.architecture.size]) for n in first if n.architecture.size in other]


def _difference(
    found: DynamicsFindings, pairs: Sequence[tuple[Net, Net]], definition: Definition
) -> Array | None:
    if not pairs:
        return None
    y = found.by_seed(
        [n for pair in pairs for n in pair], partial(log_ratios, definition=definition)
    )
    return np.asarray((y[1::2] - y[::2]).mean(axis=0))


def _highest(found: DynamicsFindings) -> Iterator[Claim]:
    used = {f.family: f.used for f in found.families}

    def lead(definition: Definition) -> Array | None:
        """Return how far the transformers lie above the higher of the others."""
        if set(used) != set(COUNTS):
            return None
        parts = [used["transformer"], used["dense"], used["cnn"]]
        if not all(parts):
            return np.empty(0)
        y = found.by_seed(
            [n for part in parts for n in part], partial(rates, definition=definition)
        )
        ends = np.cumsum([0, *(len(p) for p in parts)])
        own, dense, cnn = (y[a:b].mean(axis=0) for a, b in itertools.pairwise(ends))
        return np.asarray(own - np.maximum(dense, cnn))

    return _judged(
        "transformer-lyapunov",
        "Transformers have the highest exponent λ.",
        "λ of transformers minus the larger of the two others, per epoch. λ is ln ratio ÷ epochs; "
        "epochs differ in number and length between families.",
        lead,
        above=True,
    )
