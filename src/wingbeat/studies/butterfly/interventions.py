"""What an intervention changes of the copies, beside the standard recipe in the same base seeds.

The paper compares barriers. Where a net of few updates hardly has any, distances, disagreement and
the gain of ensembles say more, and the accuracy says whether the nets are alike at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from wingbeat.replicas.fork import REFERENCE
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.report.figures.table import Table
from wingbeat.report.prose import number
from wingbeat.stats import Estimate
from wingbeat.studies.butterfly.found import QUANTITIES
from wingbeat.studies.butterfly.rulings import over_seeds
from wingbeat.studies.seedwise import seeds_to_decide
from wingbeat.study.finished import last_of

if TYPE_CHECKING:
    from wingbeat.studies.butterfly.found import ButterflyFindings

STANDARD: Final = "standard"
COMPARED: Final = {
    "accuracy": "test accuracy of the reference",
    **{
        name: QUANTITIES[name]
        for name in (*("barrier_train", "disagreement", "l2", "angular_cka", "ensemble_loss_gain"),)
    },
}
"""What is compared, and how tables call it."""
CELL: Final = ("kind", "size", "time")
COLUMNS: Final = (
    *("intervention", "quantity", "standard", "here", "difference", "low", "high"),
    *("seeds", "needed"),
)


def changes(found: ButterflyFindings) -> pd.DataFrame:
    """Return what `compared` gives of what a study has found, with the references' accuracy."""
    return compared(pd.concat([found.values, accuracies(found.table)], ignore_index=True))


def accuracies(table: pd.DataFrame) -> pd.DataFrame:
    """Return the last test accuracy of each reference, as rows of values.

    Args:
        table: tidy rows of runs, with a column "intervention".
    """
    own = table[(table["metric"] == "accuracy") & (table["b"] == REFERENCE)].sort_values("step")
    rows = [
        {"intervention": name, "kind": "", "size": 0.0, "time": 0.0, "seed": seed}
        | {"quantity": "accuracy", "value": last}
        for (name, seed), group in own.groupby(["intervention", "seed"], sort=False)
        for last in last_of(group).tolist()
    ]
    return pd.DataFrame(rows)


def compared(values: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each intervention and quantity.

    Args:
        values: one row for each replica and quantity; see ``found.VALUES``.

    Returns:
        With the columns `COLUMNS`: means over base seeds of the cells that both recipes have, the
        difference within base seeds with Student's interval of 95 %, how many base seeds there
        are, and how many would decide on its sign (0: no forecast, or decided).
    """
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(values["intervention"]):
        for quantity in COMPARED:
            own = values[values["quantity"] == quantity]
            pairs = _pairs(own[own["intervention"] == name], own[own["intervention"] == STANDARD])
            if name != STANDARD and len(pairs):
                rows.append({"intervention": name, "quantity": quantity, **_difference(pairs)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _pairs(here: pd.DataFrame, usual: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each base seed: its mean over the cells of both recipes, in each."""
    means = [
        rows.groupby([*CELL, "seed"])["value"].agg(_whole_mean).rename(side)
        for side, rows in (("here", here), ("usual", usual))
    ]
    return pd.concat(means, axis=1, join="inner").groupby("seed").agg(_whole_mean).dropna()


def _whole_mean(values: pd.Series) -> float:
    """Return a mean that one undefined replica makes undefined: it undoes its base seed."""
    return float(values.mean(skipna=False))


def _difference(pairs: pd.DataFrame) -> dict[str, Any]:
    gaps = (pairs["here"] - pairs["usual"]).tolist()
    found = over_seeds(gaps)
    assert found is not None  # there is at least one pair
    decided = found.low > 0 or found.high < 0
    return {
        "standard": float(pairs["usual"].mean()),
        "here": float(pairs["here"].mean()),
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "seeds": len(gaps),
        "needed": 0 if decided else seeds_to_decide(gaps, 0.0),
    }


def intervention_table(rows: pd.DataFrame) -> Table:
    """Return what `compared` gives as a page shows it."""
    heads = ("intervention", "", STANDARD, "with it", "difference", "base seeds that would decide")
    shown = []
    for row in rows.to_dict("records"):
        found = Estimate(row["difference"], row["low"], row["high"])
        words = (number(row["standard"]), number(row["here"]), estimate_text(found))
        needed = "–" if not row["needed"] else f"{int(row['needed']):,}"
        shown.append((str(row["intervention"]), COMPARED[row["quantity"]], *words, needed))
    return Table(heads, tuple(shown))
