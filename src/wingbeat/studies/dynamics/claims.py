"""The article's claims, each measured and judged under three definitions of spread."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from wingbeat.errors import TOO_FEW_SEEDS
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.estimates import (
    DEFINITIONS,
    FEWEST_SEEDS,
    Definition,
    logs_of,
    rates_of,
)
from wingbeat.studies.dynamics.summary import Found, Net
from wingbeat.study.finished import over_seeds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Ruling = Literal["supported", "contradicted", "undetermined"]


@dataclass(frozen=True)
class Measured:
    """What one definition says about a claim.

    Attributes:
        estimate: the measured quantity; a count has its possible range as the interval.
        ruling: "supported", "contradicted" or "undetermined".
        whole: whether the quantity is a count, shown without decimals.
    """

    estimate: Estimate
    ruling: Ruling
    whole: bool = False


@dataclass(frozen=True)
class Claim:
    """One claim of the article.

    Attributes:
        ident: short name.
        text: the claim.
        quantity: what is measured, and on which side of what the claim lies.
        measured: for each definition of spread.
        note: what the comparison leaves out; "" if nothing.
    """

    ident: str
    text: str
    quantity: str
    measured: dict[Definition, Measured]
    note: str = ""


def claims(found: Found) -> list[Claim]:
    """Return all claims that the study was asked to test, in the article's order."""
    return [
        _count(found, "dense", 6, 10),
        _count(found, "cnn", 1, 5),
        _count(found, "transformer", 0, 6),
        _size(
            found,
            "larger-dense",
            "Larger dense nets converge more.",
            _nets(found, "3-layer"),
            _nets(found, "5-layer"),
        ),
        _depth(found),
        _kinds(found),
        _size(
            found,
            "larger-transformers",
            "Larger transformers are more stable.",
            _nets(found, "GPT"),
            _nets(found, "BERT"),
        ),
        _highest(found),
    ]


def _nets(found: Found, group: str) -> list[Net]:
    return [n for n in found.nets if n.architecture.group == group]


def _count(found: Found, family: str, said: int, of: int) -> Claim:
    words = {"dense": "dense nets", "cnn": "CNNs", "transformer": "transformers"}[family]
    there = next((f for f in found.families if f.family == family), None)
    measured = {}
    for definition in DEFINITIONS:
        if there is None:
            measured[definition] = _nothing()
            continue
        sure, open_, _ = there.counts[definition]
        missing = of - len(there.nets)
        low, high = sure, sure + open_ + missing
        measured[definition] = Measured(
            Estimate(float(sure), float(low), float(high)), count_ruling(said, low, high), True
        )
    note = ""
    if there is not None and len(there.nets) < of:
        note = f"{of - len(there.nets)} of the {of} were not run and count as open."
    return Claim(
        f"{family}-count",
        f"{said if said else 'None'} of {of} {words} converge{'s' if said == 1 else ''}.",
        f"nets whose whole interval lies below 1; the range counts open nets too; said: {said}",
        measured,
        note,
    )


def count_ruling(said: int, low: int, high: int) -> Ruling:
    """Judge a count that lies for sure between low and high.

    >>> count_ruling(6, 6, 6), count_ruling(6, 0, 2), count_ruling(6, 4, 8)
    ('supported', 'contradicted', 'undetermined')
    """
    if not low <= said <= high:
        return "contradicted"
    return "supported" if low == high else "undetermined"


def sign_ruling(estimate: Estimate, claimed: Literal["above 0", "below 0"]) -> Ruling:
    """Judge a quantity by the side of 0 on which its whole interval lies.

    >>> sign_ruling(Estimate(2.0, 1.0, 3.0), "above 0")
    'supported'
    >>> sign_ruling(Estimate(2.0, -1.0, 5.0), "above 0")
    'undetermined'
    """
    if np.isnan([estimate.value, estimate.low, estimate.high]).any():
        return "undetermined"
    above = estimate.low > 0
    if not above and estimate.high >= 0:
        return "undetermined"
    return "supported" if above == (claimed == "above 0") else "contradicted"


def _size(found: Found, ident: str, text: str, *groups: Sequence[Net]) -> Claim:
    def slope(definition: Definition) -> Estimate:
        """Return the slope of ln ratio against log10 size, the groups kept apart."""
        used = _sized(groups)
        x = [
            np.log10([n.architecture.parameters for n in group]).astype(np.float64)
            for group in used
        ]
        if not used:
            return Estimate.undefined(TOO_FEW_SEEDS)
        nets = [n for group in used for n in group]
        y = found.by_seed(nets, logs_of(definition))
        centred = np.concatenate([part - part.mean() for part in x])
        return over_seeds(centred @ y / (centred @ centred), reason="below_noise_floor")

    return Claim(
        ident,
        text,
        "change of ln ratio for ten times the weights, at equal depth or kind; said: below 0",
        _judged(slope, "below 0"),
        _left_out(groups),
    )


def _sized(groups: Sequence[Sequence[Net]]) -> list[list[Net]]:
    """Return the nets of each group that can show an effect of size.

    Nets with enough seeds if at least two sizes have them, else all that were run: a value
    without an interval is still shown.
    """
    complete = [[n for n in group if n.complete] for group in groups]
    return [g for g in complete if len(g) > 1] or [list(g) for g in groups if len(g) > 1]


def _depth(found: Found) -> Claim:
    pairs = _pairs(_nets(found, "3-layer"), _nets(found, "5-layer"))
    return Claim(
        "depth",
        "Deeper dense nets converge less: five layers end farther apart than three.",
        "ln ratio of five layers minus that of three, sizes in pairs; said: above 0",
        _judged(lambda d: _difference(found, pairs, d), "above 0"),
    )


def _kinds(found: Found) -> Claim:
    every = _pairs(_nets(found, "GPT"), _nets(found, "BERT"))
    pairs = [p for p in every if p[0].complete and p[1].complete] or every
    sizes = ", ".join(gpt.architecture.name.split()[1] for gpt, _ in pairs)
    return Claim(
        "bert-gpt",
        "BERT-like transformers are less stable than GPT-like ones.",
        "ln ratio of BERT minus that of GPT, sizes in pairs; said: above 0",
        _judged(lambda d: _difference(found, pairs, d), "above 0"),
        f"Compared at: {sizes}." if pairs else "",
    )


def _pairs(first: Sequence[Net], second: Sequence[Net]) -> list[tuple[Net, Net]]:
    other = {n.architecture.size: n for n in second}
    return [(n, other[n.architecture.size]) for n in first if n.architecture.size in other]


def _difference(found: Found, pairs: Sequence[tuple[Net, Net]], definition: Definition) -> Estimate:
    if not pairs:
        return Estimate.undefined(TOO_FEW_SEEDS)
    both = [n for pair in pairs for n in pair]
    y = found.by_seed(both, logs_of(definition))
    return over_seeds((y[1::2] - y[::2]).mean(axis=0), reason="below_noise_floor")


def _highest(found: Found) -> Claim:
    used = {f.family: f.used for f in found.families}

    def lead(definition: Definition) -> Estimate:
        if any(not used.get(name) for name in ("dense", "cnn", "transformer")):
            return Estimate.undefined(TOO_FEW_SEEDS)
        parts = [used["transformer"], used["dense"], used["cnn"]]
        everyone = [n for part in parts for n in part]
        y = found.by_seed(everyone, rates_of(definition))
        ends = np.cumsum([0, *(len(p) for p in parts)])
        own, dense, cnn = (y[a:b].mean(axis=0) for a, b in itertools.pairwise(ends))
        return over_seeds(own - np.maximum(dense, cnn), reason="below_noise_floor")

    return Claim(
        "transformer-lyapunov",
        "Transformers have the highest exponent λ.",
        "λ of transformers minus the larger of the two others, per epoch; said: above 0",
        _judged(lead, "above 0"),
        "λ is ln ratio ÷ epochs; epochs differ in number and length between families.",
    )


def _judged(
    measure: Callable[[Definition], Estimate], claimed: Literal["above 0", "below 0"]
) -> dict[Definition, Measured]:
    found = {d: measure(d) for d in DEFINITIONS}
    return {d: Measured(e, sign_ruling(e, claimed)) for d, e in found.items()}


def _left_out(groups: Sequence[Sequence[Net]]) -> str:
    used = {n.architecture.name for group in _sized(groups) for n in group}
    few = [n.architecture.name for g in groups for n in g if n.architecture.name not in used]
    if few:
        return f"Left out, with fewer than {FEWEST_SEEDS} base seeds or alone: {', '.join(few)}."
    return ""


def _nothing() -> Measured:
    return Measured(Estimate.undefined(TOO_FEW_SEEDS), "undetermined")
