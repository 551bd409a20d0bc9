"""The claims of arXiv 2506.13234 about training from scratch, each measured and judged here.

A claim holds or fails when the whole 95 % interval lies on one side of its bound, and is
undetermined otherwise. The bounds are ours where the paper speaks without a number; each is named.
Intervals are over replicas nested in base seeds, so fewer than three base seeds decide little.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from wingbeat.report.prose import number
from wingbeat.studies.butterfly.beyond_claims import matching, turned
from wingbeat.studies.butterfly.fine_tuning import finetune_claims
from wingbeat.studies.butterfly.found import mean_of
from wingbeat.studies.butterfly.growth import law_claims
from wingbeat.studies.butterfly.rulings import (
    beyond,
    by_seed,
    claim,
    over_seeds,
    paired,
    ratio,
)
from wingbeat.study.ranges import CORRELATION
from wingbeat.study.verdicts import Claim, all_of, judge
from wingbeat.tasks.sst2 import FINETUNE_FACTORIES

if TYPE_CHECKING:
    from wingbeat.studies.butterfly.found import ButterflyFindings
    from wingbeat.study.analysis import Analysis

LARGE: Final = 0.1
"""A barrier above this, in nats of training cross entropy, counts as large."""
SMALL: Final = 0.02
"""A barrier below this counts as none; the paper's means at 10 % of training are .02."""
SPREAD: Final = 2.0
"""Factor by which barriers may differ and still "hardly depend" on the size."""
EXPECTED: Final = {
    "long warm-up": (-1, "10× warm-up is more stable"),
    "wide and shallow": (-1, "A wide, shallow net is more stable (the most of all)"),
    "larger batch": (-1, "A larger batch is slightly more stable"),
    "AdamW": (1, "Adam is less stable"),
    "no weight decay": (-1, "Weight decay makes training less stable"),
}
"""Sign of the change of barriers that the paper finds under an intervention, and its claim."""
EARLY, TENTH, HALF = 0.005, 0.1, 0.5


def tested(found: Analysis) -> tuple[Claim, ...]:
    """Return the claims that the plan's task can test: about fine-tuning, or from scratch."""
    if found.plan.task in FINETUNE_FACTORIES:
        return finetune_claims(found.own.values)
    own, asked = found.own, found.plan.interventions
    return (*claims(own.values, asked, usual_batch(own)), *law_claims(own.laws))


def usual_batch(found: ButterflyFindings) -> int:
    """Return how many samples a batch of the standard recipe has; 0 where it was not run."""
    runs = found.study.conditions
    own = runs[runs["intervention"] == "standard"]
    return int(own["batch"].iloc[0]) if len(own) else 0


def claims(
    values: pd.DataFrame, interventions: Sequence[str] = (), batch: int = 0
) -> tuple[Claim, ...]:
    """Return every claim with its verdict.

    Args:
        values: one row for each replica and quantity; see ``found.VALUES``.
        interventions: those that were asked for, besides "standard".
        batch: samples of a batch of the standard recipe, for interventions that set another one.
    """
    expected = {name: said for name in interventions if (said := expectation(name, batch))}
    own = values[values["intervention"] == "standard"]
    barrier = own[own["quantity"] == "barrier_train"]
    return (
        _single(barrier),
        _drop(barrier),
        _tenth(barrier),
        *_half(barrier),
        _flat(barrier),
        _growth(own),
        _log_linear(own),
        *(_intervention(values, name, *said) for name, said in expected.items()),
        matching(own),
        turned(own),
    )


def expectation(name: str, batch: int) -> tuple[int, str] | None:
    """Return the sign that the paper finds under an intervention and its claim; None without one.

    Args:
        name: of the intervention, "batch_size=32" as well.
        batch: samples of a batch of the standard recipe.

    Example:
        >>> expectation("batch_size=32", 64)
        (1, 'A larger batch is slightly more stable (so a smaller one, 32 for 64, less)')
        >>> expectation("AdamW", 0)
        (1, 'Adam is less stable')
    """
    field, _, value = name.partition("=")
    if field != "batch_size" or not value.isdigit() or int(value) == batch or not batch:
        return EXPECTED.get(name)
    sign, text = EXPECTED["larger batch"]
    if int(value) > batch:
        return sign, f"{text} ({value} for {batch})"
    return -sign, f"{text} (so a smaller one, {value} for {batch}, less)"


def _near(barrier: pd.DataFrame, time: float) -> pd.DataFrame:
    """Return the rows at the time nearest to one, within a factor of 2; none if there is none."""
    there = [t for t in barrier["time"].unique() if t > 0 and time / 2 <= t <= 2 * time]
    best = min(there, key=lambda t: abs(np.log(t / time)), default=-1.0)
    return barrier[barrier["time"] == best]


def _single(barrier: pd.DataFrame) -> Claim:
    rows = barrier[(barrier["kind"] == "single") & (barrier["time"] == 0)]
    found = mean_of(rows) if len(rows) else None
    return claim(
        "single-weight",
        "A single weight changed at initialisation leads to a large barrier.",
        "large (figure 1, abstract)",
        found,
        judge(found, LARGE, above=True),
        f"Training-loss barrier; large: above {LARGE:g}.",
        seeds=by_seed(rows),
        bound=log(LARGE),
    )


def _drop(barrier: pd.DataFrame) -> Claim:
    start, early = barrier[barrier["time"] == 0], _near(barrier, EARLY)
    found = ratio(early, start)
    return claim(
        "sharp-drop",
        "The barrier drops sharply after about 0.5 % of training.",
        "0.17 to 0.34 of the barrier at 0 %, by size and kind",
        found,
        judge(found, 0.5, above=False),
        "Barrier after 0.5 % ÷ barrier at 0 %, same kinds and sizes; sharply: below ½.",
        seeds=beyond(paired(early, start), 0.5),
    )


def _tenth(barrier: pd.DataFrame) -> Claim:
    rows = _near(barrier, TENTH)
    rows = rows[(rows["size"] <= 0.011) & rows["kind"].isin(("batch", "gaussian"))]
    found = mean_of(rows) if len(rows) else None
    return claim(
        "tenth",
        "After 10 % of training hardly any barrier is left, for sizes up to 0.01.",
        "0.02 to 0.06",
        found,
        judge(found, LARGE, above=False),
        f"Mean over kinds and sizes; hardly any: below {LARGE:g}.",
        seeds=by_seed(rows),
        bound=log(LARGE),
    )


def _half(barrier: pd.DataFrame) -> tuple[Claim, Claim]:
    rows = _near(barrier, HALF)
    rows = rows[rows["kind"].isin(("batch", "gaussian"))]
    small, large = rows[rows["size"] < 0.05], rows[rows["size"] >= 0.05]
    below = mean_of(small) if len(small) else None
    above = mean_of(large) if len(large) else None
    return (
        claim(
            "half-small",
            "After 50 % of training sizes below about 0.1 lead to no barrier.",
            "0 for sizes up to 0.01",
            below,
            judge(below, SMALL, above=False),
            f"No barrier: below {SMALL:g}.",
            seeds=by_seed(small),
            bound=log(SMALL),
        ),
        claim(
            "half-large",
            "After 50 % of training a size of about 0.1 still leads to one.",
            "not 0 (figure)",
            above,
            judge(above, SMALL, above=True),
            f"A barrier: above {SMALL:g}.",
            seeds=by_seed(large),
            bound=log(SMALL),
        ),
    )


def _flat(barrier: pd.DataFrame) -> Claim:
    start = barrier[(barrier["time"] == 0) & barrier["kind"].isin(("batch", "gaussian"))]
    sizes = sorted(start["size"].unique())
    found, seeds = None, []
    if len(sizes) > 1:
        by_kind = start.drop(columns="size")  # so that kinds are paired, whatever the size
        ends = by_kind[start["size"] == sizes[-1]], by_kind[start["size"] == sizes[0]]
        found, seeds = ratio(*ends), beyond(paired(*ends), SPREAD)
    span = f"{sizes[0]:g} to {sizes[-1]:g}" if sizes else "no sizes"
    return claim(
        "size-at-start",
        "At initialisation the barrier hardly depends on the size of the perturbation.",
        "factor 1.3 (batch) and 0.9 (Gaussian) from 1e-4 to 1e-2",
        found,
        all_of(judge(found, SPREAD, above=False), judge(found, 1 / SPREAD, above=True)),
        f"Barrier of the largest size ÷ that of the smallest, {span}; hardly: within a factor "
        f"of {SPREAD:g}. The sizes differ from the paper's where the grid does.",
        seeds=seeds,
    )


def _growth(own: pd.DataFrame) -> Claim:
    slopes = []
    start = own[(own["time"] == 0) & own["kind"].isin(("batch", "gaussian"))]
    for _, rows in start.groupby("seed"):
        pair = _paired(rows, "l2_start", "l2")
        if not len(pair):
            continue
        # Kinds apart: they need not begin at the same height.
        x, y = (
            np.log(pair[n]) - np.log(pair[n]).groupby(pair["kind"]).transform("mean")
            for n in ("l2_start", "l2")
        )
        if float(x @ x) > 1e-6:
            slopes.append(float((x @ y) / (x @ x)))
    found = over_seeds(slopes)
    return claim(
        "not-linear",
        "Growth is not that of linearised dynamics.",
        "qualitative",
        found,
        judge(found, 1.0, above=False),
        "Slope of ln L2 at the end against ln L2 of the perturbation at 0 %: 1 if the dynamics "
        "were linear, 0 if the distance has saturated.",
        seeds=slopes,
        bound=1.0,
    )


def _log_linear(own: pd.DataFrame) -> Claim:
    found = []
    for _, rows in own.groupby("seed"):
        pair = _paired(rows, "barrier_train", "l2")
        pair = pair[pair["barrier_train"] > 0]
        if len(pair) > 2 and pair["l2"].std() > 0:
            logs = np.log(pair["barrier_train"].to_numpy(dtype=float))
            if logs.std() > 0:
                found.append(float(np.corrcoef(logs, pair["l2"].to_numpy(dtype=float))[0, 1]))
    estimate = over_seeds(found, CORRELATION)
    return claim(
        "log-linear",
        "The logarithm of the barrier rises with the L2 distance.",
        "log-linear for ResNets (qualitative)",
        estimate,
        judge(estimate, 0.0, above=True),
        "Correlation of ln barrier with L2 over the replicas whose barrier is above 0, averaged "
        "over base seeds; −1 to 1.",
        seeds=found,
    )


def _paired(rows: pd.DataFrame, *quantities: str) -> pd.DataFrame:
    """Return one row for each replica with some of its quantities, where all are positive or 0."""
    there = rows[rows["quantity"].isin(quantities)]
    wide = there.pivot_table(
        index=["kind", "size", "time", "replica"], columns="quantity", values="value"
    ).reset_index()
    if not set(quantities) <= set(wide.columns):
        return wide.iloc[:0]
    kept: pd.DataFrame = wide.dropna(subset=list(quantities))
    return kept[(kept["l2"] > 0)]


def _intervention(values: pd.DataFrame, name: str, sign: int, text: str) -> Claim:
    """Judge the sign of the change of barriers under an intervention; 1 says that they rise."""
    rows = values[(values["quantity"] == "barrier_train") & (values["time"] > 0)]
    places = ["kind", "size", "time", "seed"]
    ours, usual = (
        rows[rows["intervention"] == which]
        .groupby(places)["value"]
        .agg(lambda v: v.mean(skipna=False))
        for which in (name, "standard")
    )
    gaps = (ours - usual).dropna().groupby("seed").mean()
    found = over_seeds(gaps.tolist())
    level = usual.mean() if len(usual) else float("nan")
    return claim(
        name.replace(" ", "-"),
        f"{text}.",
        "lower barriers" if sign < 0 else "higher barriers",
        found,
        judge(found, 0.0, above=sign > 0),
        "Training-loss barrier minus that of the standard recipe, mean over the cells after 0 %, "
        f"where the standard has {number(float(level))}.",
        seeds=gaps.tolist(),
    )
