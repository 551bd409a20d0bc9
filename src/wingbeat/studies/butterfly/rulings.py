"""How a claim is judged by a quantity with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from wingbeat.errors import CONSTANT, TOO_FEW_SEEDS
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.stats import Estimate, bootstrap
from wingbeat.studies.seedwise import forecast, needed_text, seeds_to_decide
from wingbeat.study import finished
from wingbeat.study.ranges import AT_LEAST_0, Range, kept
from wingbeat.study.verdicts import NOT_RUN, UNDETERMINED, Claim, Verdict
from wingbeat.typing import Array

NAMES: Final = ("kind", "size")
"""What has to agree where values are compared."""


def claim(
    ident: str,
    text: str,
    published: str,
    found: Estimate | None,
    verdict: Verdict,
    note: str,
    *,
    seeds: Sequence[float] = (),
    bound: float = 0.0,
) -> Claim:
    """Return a claim with what was found; without an estimate it was not run.

    Args:
        ident: short name.
        text: the claim.
        published: what the paper says.
        found: what was found.
        verdict: on it.
        note: how it was measured, and the bound.
        seeds: one value for each base seed, from which an open claim says how many would decide.
        bound: in their units.

    >>> claim("a", "A claim.", "2", None, "holds", "").verdict
    'not run'
    """
    if found is None:
        return Claim(ident, text, published, "–", NOT_RUN, note)
    needed = 0
    # An interval that comes from more than the base seeds may be wider than theirs: no forecast.
    if verdict == UNDETERMINED and seeds_to_decide(seeds, bound) > len(seeds):
        note = f"{note} {needed_text(seeds, bound)}"
        needed = forecast(seeds, bound)
    return Claim(ident, text, published, estimate_text(found), verdict, note, needed=needed)


def by_seed(rows: pd.DataFrame) -> list[float]:
    """Return the logarithm of the mean of each base seed's values, none of which is negative."""
    means = [float(own["value"].mean(skipna=False)) for _, own in rows.groupby("seed")]
    return _logarithms(np.array(means))


def ratio(top: pd.DataFrame, bottom: pd.DataFrame) -> Estimate | None:
    """Return the mean of one set of values ÷ that of another, base seeds in pairs.

    Only kinds and sizes that both have count. None if there is nothing to compare; an interval
    needs three base seeds.
    """
    pairs = paired(top, bottom)
    if pairs is None:
        return None
    if not len(pairs):
        return Estimate.undefined(CONSTANT)
    found = bootstrap(lambda w: _quotient(w @ pairs[:, 0], w @ pairs[:, 1]), len(pairs))
    return kept(found, AT_LEAST_0)


def paired(top: pd.DataFrame, bottom: pd.DataFrame) -> Array | None:
    """Return (base seeds, 2): means of two sets of values over the kinds and sizes of both.

    None if there are no such kinds and sizes.
    """
    names = [n for n in NAMES if n in top and n in bottom]
    shared = top[names].drop_duplicates().merge(bottom[names].drop_duplicates())
    if not len(shared):
        return None
    top, bottom = (rows.merge(shared, on=names) for rows in (top, bottom))
    above, below = (rows.groupby("seed")["value"] for rows in (top, bottom))
    # A group mean leaves NaN out by itself; here one undefined replica undoes its base seed.
    means = pd.concat([g.agg(lambda v: v.mean(skipna=False)) for g in (above, below)], axis=1)
    return np.asarray(means.dropna().to_numpy(dtype=float))


def beyond(pairs: Array | None, factor: float) -> list[float]:
    """Return the logarithm of the first of each pair over a multiple of the second."""
    if pairs is None:
        return []
    ratios = _quotient(pairs[:, 0], factor * pairs[:, 1])
    return _logarithms(ratios)


def _logarithms(values: Array) -> list[float]:
    """Return logarithms, NaN of what is not above 0."""
    return [float(np.log(value)) if value > 0 else float("nan") for value in values]


def _quotient(top: Array, bottom: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(bottom > 0, top / bottom, np.nan))


def over_seeds(found: Sequence[float], within: Range | None = None) -> Estimate | None:
    """Return the mean over base seeds; None without any, and an interval from three on.

    >>> over_seeds([1.0, 2.0, 3.0]).value, over_seeds([]) is None
    (2.0, True)
    """
    if not found:
        return None
    if len(found) < 3:
        return Estimate(float(np.mean(found)), interval_reason=TOO_FEW_SEEDS)
    return finished.over_seeds(np.array(found), within=within)
