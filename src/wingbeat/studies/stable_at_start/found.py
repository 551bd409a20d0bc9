"""Tables of the study of stable settings: every run, every setting, and one row a base seed."""

from __future__ import annotations

import json
from math import nan
from typing import Any, Final

import numpy as np
import pandas as pd

from wingbeat.studies.left_over import correlated
from wingbeat.studies.stable_at_start.measure import PLACES
from wingbeat.studies.stable_at_start.plan import CHOSEN, LANDMARK, SEARCH
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, estimate_in, mean_columns
from wingbeat.study.ranges import AT_LEAST_0, CORRELATION, DIFFERENCE, SHARE, Range

LIMIT: Final = 0.01
"""Barrier in nats below which there is none: of a loss that is 2.3 of a net that says nothing."""
ASKED: Final = (
    "optimizer", "lr", "warmup", "decay", "weight_decay", "batch_size", "width", "depth", "norm",
    "gain",
)  # fmt: skip
ENDS: Final = ("barrier", "aligned", "error", "test_accuracy", "train_loss", "disagreement",
               "movement")  # fmt: skip
KEPT: Final = ("phase", "setting", "seed", *ASKED, *ENDS, *PLACES)
MEANS: Final = (*ENDS, *PLACES)
SEEDWISE: Final = {
    "stable_barrier": "barrier of the calmest, nats",
    "stable_accuracy": "accuracy of the calmest",
    "over_linear": "accuracy, calmest less linear",
    "over_usual": "accuracy, calmest less usual AdamW",
    "cost": "accuracy, most accurate less calmest",
    "reach_cost": "accuracy, most accurate less the last calm one",
    "accurate_barrier": "barrier of the most accurate, nats",
    "usual_adamw_barrier": "barrier of usual AdamW, nats",
    "usual_sgd_barrier": "barrier of usual SGD, nats",
    "alignment": "barrier of the most accurate, as it is less aligned",
    "order_over_nudge": "barrier of the most accurate, other order less nudge",
    "curse": "barrier of the chosen, on unseen base seeds less in the search",
    "movement": "rank correlation of barrier and movement over settings",
}
"""One number a base seed, in words."""
LIMITS: Final[dict[str, Range]] = {
    **dict.fromkeys(("test_accuracy", "disagreement", "stable_accuracy"), SHARE),
    **dict.fromkeys(("barrier", "aligned", "error", "train_loss", "movement", *PLACES), AT_LEAST_0),
    **dict.fromkeys(
        ("stable_barrier", "accurate_barrier", "usual_adamw_barrier", "usual_sgd_barrier"),
        AT_LEAST_0,
    ),
    **dict.fromkeys(("over_linear", "over_usual", "cost", "reach_cost"), DIFFERENCE),
}
"""What the means of a setting can be."""
OF_SEED: Final[dict[str, Range]] = {**LIMITS, "movement": CORRELATION}
"""What the numbers of a base seed can be."""


def tables(found: Analysis) -> Tables:
    """Return every run, the means of each setting, and the numbers of each base seed."""
    return tables_of(runs_of(done(found.study)))


def tables_of(runs: pd.DataFrame) -> Tables:
    """Return all tables from the runs; see ``KEPT``."""
    found = {"runs": runs, "settings": by_setting(runs), "seeds": seeds_of(runs)}
    return {**found, "knobs": knobs(runs)}


def runs_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a finished condition, with its setting in columns of their own."""
    usual = {"optimizer": "adamw", "warmup": 0.0, "decay": "none", "weight_decay": 0.0,
             "batch_size": 64, "width": 64, "norm": "none", "gain": 1.0}  # fmt: skip
    asked = pd.DataFrame([{**usual, **json.loads(text)} for text in rows["arguments"]], rows.index)
    whole = pd.concat([rows.drop(columns=ASKED, errors="ignore"), asked[list(ASKED)]], axis=1)
    whole["place"] = [int(name.split()[-1]) if name.startswith("trial") else -1
                      for name in whole["setting"]]  # fmt: skip
    ordered = whole.sort_values(["phase", "place", "setting", "seed"], ignore_index=True)
    return ordered.reindex(columns=KEPT)


def by_setting(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a setting that is judged, from calm to accurate, then the landmarks.

    ``calm`` says of its barrier on base seeds that the search has not seen: "yes" where its whole
    interval lies below ``LIMIT``, "no" where it lies above, "open".
    """
    found = []
    for phase in (CHOSEN, LANDMARK):
        for name, own in _in_order(runs, phase):
            row: dict[str, Any] = {"phase": phase, "setting": name, "runs": len(own)}
            row |= {str(k): v for k, v in own.iloc[0][list(ASKED)].items()}
            row |= seen_in_search(runs, name)
            row |= mean_columns(own, MEANS, LIMITS)
            row["calm"] = calm(row)
            found.append(row)
    return pd.DataFrame(found)


def calm(row: Any) -> str:
    """Return whether a setting has no barrier.

    >>> calm({"barrier": 0.001, "barrier_low": 0.0, "barrier_high": 0.003})
    'yes'
    """
    barrier = estimate_in(row, "barrier")
    if barrier.high < LIMIT:
        return "yes"
    return "no" if barrier.low > LIMIT else "open"


def seen_in_search(runs: pd.DataFrame, name: str) -> dict[str, float]:
    """Return what the search saw of a setting; NaN of one that it did not try."""
    own = runs[(runs["phase"] == SEARCH) & (runs["setting"] == name)]
    columns = {"search_barrier": "barrier", "search_accuracy": "test_accuracy"}
    return {to: float(own[of].iloc[0]) if len(own) else nan for to, of in columns.items()}


def _in_order(runs: pd.DataFrame, phase: str) -> list[tuple[str, pd.DataFrame]]:
    """Return the runs of each setting of a phase, in the order of what the search saw."""
    groups = [(str(n), own) for n, own in runs[runs["phase"] == phase].groupby("setting")]
    if phase == LANDMARK:
        return groups
    return sorted(groups, key=lambda pair: seen_in_search(runs, pair[0])["search_accuracy"])


def last_calm(settings: pd.DataFrame) -> str:
    """Return the most accurate setting up to which all that are calmer are calm; "" if none.

    A fixed sequence from the calmest on: the order is that of the search, and the first that is
    not calm ends it, so that no correction for their number is due.
    """
    own = settings[settings["phase"] == CHOSEN]
    beyond = own["calm"].ne("yes").cummax()
    kept = own[~beyond]["setting"]
    return str(kept.iloc[-1]) if len(kept) else ""


def seeds_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a base seed with the numbers of ``SEEDWISE``."""
    settings = by_setting(runs)
    judged = runs[runs["phase"] != SEARCH]
    if settings.empty or not (settings["phase"] == CHOSEN).any():
        return pd.DataFrame(columns=["seed", *SEEDWISE])
    chosen = settings[settings["phase"] == CHOSEN].set_index("setting")
    reach = last_calm(settings)
    return pd.DataFrame(
        [
            {"seed": seed, **of_seed(own.set_index("setting"), chosen, reach)}
            for seed, own in judged.groupby("seed", sort=True)
        ]
    )


def of_seed(own: pd.DataFrame, chosen: pd.DataFrame, reach: str) -> dict[str, float]:
    """Return what one base seed says.

    Args:
        own: its runs by setting.
        chosen: settings of the frontier, from calm to accurate.
        reach: the last calm one; see ``last_calm``.
    """

    def of(name: str, column: str) -> float:
        return float(own[column].get(name, nan))

    first, last = str(chosen.index[0]), str(chosen.index[-1])
    accuracy = of(last, "test_accuracy")
    noises = {n: of(last, f"{n}_train") for n in ("order", "nudge")}
    fresh = np.array([of(str(name), "barrier") for name in chosen.index])
    return {
        "stable_barrier": of(first, "barrier"),
        "stable_accuracy": of(first, "test_accuracy"),
        "over_linear": of(first, "test_accuracy") - of("linear", "test_accuracy"),
        "over_usual": of(first, "test_accuracy") - of("usual AdamW", "test_accuracy"),
        "cost": accuracy - of(first, "test_accuracy"),
        "reach_cost": accuracy - of(reach, "test_accuracy"),
        "accurate_barrier": of(last, "barrier"),
        "usual_adamw_barrier": of("usual AdamW", "barrier"),
        "usual_sgd_barrier": of("usual SGD", "barrier"),
        "alignment": of(last, "barrier") - of(last, "aligned"),
        "order_over_nudge": noises["order"] - noises["nudge"],
        "curse": float((fresh - chosen["search_barrier"].to_numpy()).mean()),
        "movement": correlated(own["movement"], own["barrier"]),
    }


def knobs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return how barrier and accuracy go with each setting over the trials that have learned.

    For numbers Spearman's correlation, for words the mean at each level. What the search tried is
    no random sample: these describe its trials and are no estimates.
    """
    trials = runs[(runs["phase"] == SEARCH) & (runs["test_accuracy"] >= 0.5)]
    found = []
    for name in (n for n in ASKED if len(set(trials[n])) > 1):
        words = not pd.api.types.is_numeric_dtype(trials[name])
        for level, own in trials.groupby(name, sort=True) if words else [("", trials)]:
            row: dict[str, Any] = {"setting": name, "level": level, "trials": len(own)}
            for column in ("barrier", "test_accuracy"):
                value = own[column].mean() if level else correlated(own[name], own[column])
                row[f"{'mean' if level else 'correlation'}_{column}"] = float(value)
            found.append(row)
    columns = ["setting", "level", "trials", *(f"{k}_{c}" for k in ("correlation", "mean")
                                              for c in ("barrier", "test_accuracy"))]  # fmt: skip
    return pd.DataFrame(found, columns=columns)
