"""Is recipe B better than A, or is it the seed? Effect, interval, power, and how many runs more.

Sources: Welch, Biometrika 34 (1947), for runs that are not paired; Student, Biometrika 6 (1908), on
the differences of pairs; Cohen, Statistical Power Analysis for the Behavioral Sciences (1988),
chapter 2, for power by the noncentral t distribution.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from math import inf, isfinite, nan, sqrt
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri, ncfdtr, stdtr, stdtrit

from wingbeat.analyses.logged_runs.one_run import LAST
from wingbeat.analyses.noise_sources.power import differ, power_of
from wingbeat.errors import DIVERGED, NO_VARIATION, TOO_FEW_REPLICAS, RequestError
from wingbeat.files import json_safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from wingbeat.typing import Array

Word = Literal["B is better", "A is better", "A and B differ", "it may be the seed"]
UNDECIDED: Final = "it may be the seed"
POWER: Final = 0.8
"""The usual chance to find a difference that is there (Cohen 1988)."""
_MOST: Final = 100_000
"""Runs above which no number is told: nobody trains so many."""
_LOWER: Final = {
    "loss", "error", "err", "perplexity", "ppl", "mse", "rmse", "mae", "mape", "nll", "wer", "cer",
    "fid", "brier", "ece",
}  # fmt: skip
_HIGHER: Final = {
    "acc", "accuracy", "f1", "auc", "auroc", "bleu", "rouge", "rougel", "reward", "rewards",
    "return", "returns", "score", "precision", "recall", "r2", "map", "iou", "miou", "dice", "ndcg",
    "mrr", "win", "matthews", "pearson", "spearman", "psnr", "ssim",
}  # fmt: skip


@dataclass(frozen=True)
class RecipeComparison:
    """Whether recipe B differs from recipe A.

    Attributes:
        metric: what is compared.
        at: the step, or how it was chosen.
        effect: mean of B less mean of A.
        low: lower end of its interval; NaN where there is none.
        high: upper end.
        level: nominal coverage.
        p: chance of so large a difference if there were none; two-sided.
        paired: whether runs of equal seed were subtracted first.
        means: of A and of B.
        sds: over runs; NaN for a single run.
        counts: runs of A and of B; pairs where they are paired.
        better: whether lower or higher values are better; "" where nobody said.
        verdict: "B is better" or "A is better" where the interval leaves 0 out; "A and B differ"
            where it does and nobody said which way is better; else "it may be the seed".
        detectable: the smallest true difference that so many runs find with a chance of 0.8.
        gain: the difference that ``power`` and ``more`` speak of: asked for, or the measured one.
        power: chance to find ``gain`` with these runs; NaN where nobody asked for a gain, since
            that of the measured difference only repeats p.
        more: further runs of each recipe until a difference of ``gain`` is found with a chance of
            0.8, were the measured spread the true one; 0 if there are enough, NaN if undefined.
        more_high: the same if the spread lies at the upper end of its interval.
        reason: why there is no interval; "" where there is one.
        notes: what to read before the numbers.
    """

    metric: str
    at: str
    effect: float
    low: float
    high: float
    level: float
    p: float
    paired: bool
    means: tuple[float, float]
    sds: tuple[float, float]
    counts: tuple[int, int]
    better: str
    verdict: Word
    detectable: float
    gain: float
    power: float
    more: float
    more_high: float
    reason: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields, JSON-safe: null where a number is not defined."""
        found: dict[str, Any] = json_safe(asdict(self))
        return found

    def __str__(self) -> str:
        n, m = self.counts
        how = f"{n} pairs" if self.paired else f"{n} and {m} runs"
        interval = f" [{self.low:.3g}, {self.high:.3g}]" if isfinite(self.low) else ""
        told = f"{100 * self.level:g} %, {how}, p = {self.p:.3g}" if interval else self._why()
        text = f"{self.metric} at {self.at}: {self.verdict}: {self.effect:+.3g}{interval}"
        lines = [f"{text} ({told})", *self._plan(), *(f"note: {note}" for note in self.notes)]
        return "\n".join(lines)

    def _why(self) -> str:
        return f"no interval: {self.reason}; {self.counts[0]} and {self.counts[1]} runs"

    def _plan(self) -> list[str]:
        lines = []
        if self.verdict == UNDECIDED and isfinite(self.detectable):
            found = f"so many runs find a difference of {self.detectable:.3g} with a chance of 0.8"
            lines.append(found)
        if isfinite(self.power):
            lines.append(f"chance to find a difference of {self.gain:g}: {self.power:.2g}")
        if isfinite(self.more) and (self.verdict == UNDECIDED or isfinite(self.power)):
            high = f", up to {self.more_high:.0f}" if isfinite(self.more_high) else ""
            lines.append(f"{self.more:.0f} more runs of each{high}, to find {self.gain:.3g}")
        return lines


def compare_ends(
    metric: str,
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    at: str,
    paired: bool | None,
    gain: float | None,
    better: str,
    level: float,
    notes: Sequence[str] = (),
) -> RecipeComparison:
    """Compare a value of each run of two recipes: tables of run, seed, step and value.

    Raises:
        RequestError: the recipes ended at different steps, or pairs cannot be formed.
    """
    steps = {int(s) for table in (a, b) for s in table["step"]}
    if at == LAST and len(steps) > 1:
        ends = [int(table["step"].max()) for table in (a, b)]
        msg = f"{metric!r} was logged last at step {ends[0]} of A and {ends[1]} of B"
        raise RequestError(f"{msg}: choose a step that both have (at=)")
    place = f"step {steps.pop()}" if len(steps) == 1 else f"its {at}"
    pairs = _paired(a, b, paired)
    values = _values(a, b, pairs)
    found = [*_same_values(values), *_unlike(values, (a, b)), *notes]
    return _judged(metric, place, values, pairs, gain, better, level, tuple(dict.fromkeys(found)))


def _paired(a: pd.DataFrame, b: pd.DataFrame, asked: bool | None) -> bool:
    """Tell whether runs are paired by seed."""
    if asked is False:
        return False
    fits = all(t["seed"].notna().all() and t["seed"].is_unique for t in (a, b))
    fits = fits and set(a["seed"]) == set(b["seed"])
    if asked and not fits:
        seeds = [sorted(map(str, t["seed"])) for t in (a, b)]
        msg = (
            f"runs cannot be paired: A has the seeds {seeds[0]}, B {seeds[1]}: each must be known, "
            "there once, and in both (paired=False compares without)"
        )
        raise RequestError(msg)
    return bool(fits)


def _values(a: pd.DataFrame, b: pd.DataFrame, paired: bool) -> tuple[Array, Array]:
    if paired:
        a, b = a.sort_values("seed"), b.sort_values("seed")
    return a["value"].to_numpy(np.float64), b["value"].to_numpy(np.float64)


def _same_values(values: tuple[Array, Array]) -> list[str]:
    return [
        f"runs of {name} have exactly the same value: the same run twice, or the same "
        "seed? Intervals take runs for independent"
        for name, own in zip(("A", "B"), values, strict=True)
        if len(set(own.tolist())) < len(own)
    ]


def _unlike(values: tuple[Array, Array], tables: tuple[pd.DataFrame, pd.DataFrame]) -> list[str]:
    return [
        f"{table['run'].tolist()[int(np.flatnonzero(~np.isfinite(table['value']))[0])]} has no "
        f"finite value: {int((~np.isfinite(own)).sum())} of {len(own)} runs of {name} failed"
        for name, own, table in zip(("A", "B"), values, tables, strict=True)
        if not np.isfinite(own).all()
    ]


def direction(metric: str) -> str:
    """Return which way is better, by the words of a metric's name; "" if they do not say.

    >>> direction("eval/loss"), direction("val_top1_acc"), direction("fid_score")
    ('lower', 'higher', '')
    """
    words = set(re.split(r"[^a-z0-9]+", metric.lower()))
    lower, higher = bool(words & _LOWER), bool(words & _HIGHER)
    return "" if lower == higher else "lower" if lower else "higher"


def _judged(
    name: str,
    place: str,
    values: tuple[Array, Array],
    paired: bool,
    gain: float | None,
    better: str,
    level: float,
    notes: tuple[str, ...],
) -> RecipeComparison:
    a, b = values
    effect, low, high, p, reason = _effect(a, b, paired, level)
    spread = _Spread.of(a, b, paired)
    wanted = abs(effect) if gain is None else abs(gain)
    plan = spread.planned(wanted, asked=gain is not None, alpha=1.0 - level)
    return RecipeComparison(
        metric=name,
        at=place,
        effect=effect,
        low=low,
        high=high,
        level=level,
        p=p,
        paired=paired,
        means=(float(a.mean()), float(b.mean())),
        sds=(_sd(a), _sd(b)),
        counts=(len(a), len(b)),
        better=better,
        verdict=_verdict(low, high, better),
        **plan,
        gain=wanted,
        reason=reason,
        notes=notes,
    )


def _effect(
    a: Array, b: Array, paired: bool, level: float
) -> tuple[float, float, float, float, str]:
    """Return effect, its interval, p, and why there is no interval."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return nan, nan, nan, nan, DIVERGED
    if not paired:
        found = differ(a, b, level=level)
        return found.value, found.low, found.high, found.p, found.reason
    difference = b - a
    effect, n = float(difference.mean()), len(difference)
    if n < 2:
        return effect, nan, nan, nan, TOO_FEW_REPLICAS
    error = _sd(difference) / sqrt(n)
    if error <= 1e-14 * float(np.abs([a, b]).max()):  # equal but for rounding
        return effect, nan, nan, nan, NO_VARIATION
    half = float(stdtrit(n - 1, 0.5 + level / 2.0)) * error
    p = 2.0 * float(stdtr(n - 1, -abs(effect) / error))
    return effect, effect - half, effect + half, p, ""


def _sd(values: Array) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else nan


def _verdict(low: float, high: float, better: str) -> Word:
    if not (low > 0.0 or high < 0.0):
        return UNDECIDED
    if not better:
        return "A and B differ"
    return "B is better" if (low > 0.0) == (better == "higher") else "A is better"


@dataclass(frozen=True)
class _Spread:
    """The spread that a difference is seen against, and what so many runs can find.

    Attributes:
        sd: of the differences of pairs, or of a recipe's runs (pooled).
        freedom: degrees of freedom of ``sd``.
        runs: pairs, or runs of each recipe (their harmonic mean where the numbers differ).
        paired: which of both.
    """

    sd: float
    freedom: int
    runs: float
    paired: bool

    @classmethod
    def of(cls, a: Array, b: Array, paired: bool) -> _Spread:
        """Return the spread of two recipes' values."""
        if paired:
            return cls(_sd(b - a), len(a) - 1, len(a), True)
        squares = sum(float(np.square(x - x.mean()).sum()) for x in (a, b))
        freedom = len(a) + len(b) - 2
        sd = sqrt(squares / freedom) if freedom else nan
        return cls(sd, freedom, 2.0 / (1.0 / len(a) + 1.0 / len(b)), False)

    def power(self, runs: float, sd: float, gain: float, alpha: float) -> float:
        """Return the chance to find a difference."""
        if not self.paired:
            return power_of(runs, sd, gain, alpha=alpha)
        freedom, shift = runs - 1.0, gain / (sd / sqrt(runs))
        edge = float(stdtrit(freedom, 1.0 - alpha / 2.0))
        found = 1.0 - float(ncfdtr(1.0, freedom, shift**2, edge**2))
        return found if isfinite(found) else 1.0

    def planned(self, gain: float, *, asked: bool, alpha: float) -> dict[str, float]:
        """Return what so many runs detect, the power for a gain, and how many runs are missing."""
        usable = isfinite(self.sd) and self.sd > 0.0 and self.runs >= 2
        if not usable:
            return dict.fromkeys(("detectable", "power", "more", "more_high"), nan)
        worth = isfinite(gain) and gain > 0.0
        upper = self.sd * sqrt(self.freedom / float(chdtri(self.freedom, 0.975)))
        return {
            "detectable": self._detectable(alpha),
            "power": self.power(self.runs, self.sd, gain, alpha) if worth and asked else nan,
            "more": self._more(self.sd, gain, alpha) if worth else nan,
            "more_high": self._more(upper, gain, alpha) if worth else nan,
        }

    def _detectable(self, alpha: float) -> float:
        top = 1.0
        while self.power(self.runs, 1.0, top, alpha) < POWER:
            top *= 2.0
        found = brentq(lambda d: self.power(self.runs, 1.0, d, alpha) - POWER, 1e-9, top)
        return float(found) * self.sd

    def _more(self, sd: float, gain: float, alpha: float) -> float:
        high = 2
        while self.power(high, sd, gain, alpha) < POWER:
            high *= 2
            if high > _MOST:
                return inf
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            enough = middle >= 2 and self.power(middle, sd, gain, alpha) >= POWER
            low, high = (low, middle) if enough else (middle, high)
        return float(max(0, high - int(self.runs)))
