"""What the study of latent states reads off each condition: states of all runs, and of groups.

Only references are fitted: a nudged copy is no independent run. Copies then follow the states of
the references. Whatever has an interval is found five times over, on disjoint groups of base seeds.
"""

from __future__ import annotations

import json
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from wingbeat.analyses.states import (
    Detour,
    FittedStates,
    LostStatesError,
    RunSeries,
    converged_steps,
    detours,
    fit_states,
    occupancy_fit,
    series_of_table,
)
from wingbeat.errors import CONSTANT, NOT_REACHED
from wingbeat.metrics.weight_statistics import INVARIANT
from wingbeat.studies.curvature import Measured, number, word
from wingbeat.studies.latent_states.plan import GROUPS, TASKS

if TYPE_CHECKING:
    from wingbeat.analyses.states.series import Standardise
    from wingbeat.execution.result import Result
    from wingbeat.typing import Array

STATES: Final = (1, 2, 3, 4, 5, 6)
"""Numbers of states that are tried."""
RESTARTS: Final = 5
RESTARTS_OF_GROUP: Final = 4
STAY: Final = 3
"""Records that a visit lasts at least, as the test of detours asks."""
SCORES: Final[dict[str, Standardise]] = {"pooled": "pooled", "each": "run"}
"""How statistics are put on one scale, by the study's names."""
NUMBERS: Final = ("states", "optional", "dissimilarity", "r2", "r2_last", "last_gain")


def of_task(task: str, result: Result) -> Measured:
    """Return everything about the states of one condition."""
    return of_table(result.table, TASKS[task].threshold)


modular = partial(of_task, "modular")
parity = partial(of_task, "parity")
digits = partial(of_task, "digits")


def of_table(table: pd.DataFrame, threshold: float) -> Measured:
    """Return numbers (``name_score/group`` for those with an interval) and tables as JSON."""
    every = series_of_table(table, INVARIANT)
    references = [run for run in every.runs if run.endswith("/reference")]
    series = every.only(references)
    times = converged_steps(table, references, threshold)
    pooled = fit_states(series, STATES, restarts=RESTARTS)
    own: Measured = {
        "runs": number(len(references)),
        "converged": number(float(np.isfinite(times).mean())),
        "converged_at": number(median_of(times), NOT_REACHED),
        **whole_numbers(pooled, times),
        **group_numbers(series, times, pooled.model.count),
        **twins(pooled, every),
    }
    kept = {
        "selection": pooled.selection,
        "nodes": nodes(pooled, table),
        "edges": pooled.map,
        "detours": pd.DataFrame(
            [vars(one) for one in detours(pooled, times)], columns=list(Detour.__annotations__)
        ),
        "occupancy": occupancy(pooled, times),
    }
    return own | {name: word(as_json(rows)) for name, rows in kept.items()}


def whole_numbers(fitted: FittedStates, times: Array) -> Measured:
    """Return the numbers of all runs together."""
    found = numbers(fitted, times)
    return {name: number(found[name], CONSTANT) for name in NUMBERS}


def numbers(fitted: FittedStates, times: Array) -> dict[str, float]:
    """Return the numbers of one fit."""
    fit = occupancy_fit(fitted, times)
    held = fitted.selection["held_out"].to_numpy()
    return {
        "states": float(fitted.model.count),
        "optional": float(len(fitted.optional_with(STAY))),
        "dissimilarity": fitted.dissimilarity,
        "r2": fit.r2,
        "r2_last": fit.r2_last,
        "last_gain": float(held[-1] - held[-2]) if len(held) > 1 else float("nan"),
    }


def group_numbers(series: RunSeries, times: Array, count: int) -> Measured:
    """Return the numbers of each group of runs, with pooled scores and with scores of each run.

    ``optional_same_…`` are the optional states at one number of states for both scores and all
    groups, so that a difference is that of the scores alone.
    """
    found: Measured = {}
    parts = np.array_split(np.arange(len(series.runs)), GROUPS)
    for place, part in enumerate(parts):
        own = series.only([series.runs[i] for i in part])
        for score, how in SCORES.items():
            options: dict[str, Any] = {
                "standardise": how,
                "restarts": RESTARTS_OF_GROUP,
                "seed": place,
            }
            fitted = fit_states(own, STATES, **options)
            each = numbers(fitted, times[part])
            each["optional_same"] = optional_at(own, count, options)
            for name, value in each.items():
                found[f"{name}_{score}/{place}"] = number(value, CONSTANT)
    return found


def optional_at(series: RunSeries, count: int, options: dict[str, Any]) -> float:
    """Return how many optional states runs have at a number of states; NaN where it has no fit."""
    try:
        return float(len(fit_states(series, (count,), **options).optional_with(STAY)))
    except LostStatesError:
        return float("nan")


def twins(fitted: FittedStates, every: RunSeries) -> Measured:
    """Return how nudged copies part from their references, by base seed.

    ``apart/seed`` is the mean share of records in another state over the copies of a base seed,
    ``apart_null`` the largest of the unperturbed twins, ``parting`` a table: how many copies part
    while their reference is in which state, and at which step on average (state −1: never).
    """
    paths = dict(zip(every.runs, fitted.follow(every), strict=True))
    rows: list[dict[str, float]] = []
    apart: dict[int, list[float]] = {}
    null: list[float] = []
    for run, path in paths.items():
        seed, _, label = run.partition("/")
        reference = paths.get(f"{seed}/reference")
        if reference is None or label == "reference":
            continue
        share = float(np.mean(path != reference))
        if label == "null":
            null.append(share)
            continue
        apart.setdefault(int(seed), []).append(share)
        places = np.flatnonzero(path != reference)
        first = int(places[0]) if len(places) else -1
        rows.append(
            {
                "state": int(reference[max(0, first - 1)]) if first >= 0 else -1,
                "step": float(every.steps[first]) if first >= 0 else float("nan"),
            }
        )
    table = pd.DataFrame(rows, columns=["state", "step"]).groupby("state", as_index=False)
    parted = table.agg(copies=("step", "size"), step=("step", "mean"))
    found = {f"apart/{seed}": number(float(np.mean(v))) for seed, v in sorted(apart.items())}
    never = float(np.mean([row["state"] < 0 for row in rows])) if rows else float("nan")
    return {
        **found,
        "apart_null": number(max(null, default=float("nan")), CONSTANT),
        "never_apart": number(never, CONSTANT),
        "parting": word(as_json(parted)),
    }


def occupancy(fitted: FittedStates, times: Array) -> pd.DataFrame:
    """Return a row for each run: when it converged, and the share of its records in each state."""
    shares = {f"share_{k}": fitted.occupancy[:, k] for k in range(fitted.model.count)}
    return pd.DataFrame({"run": fitted.series.runs, "converged": times, **shares})


def nodes(fitted: FittedStates, table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each state: who is in it when, how accurate, and where its means lie."""
    acc = table[(table["layer"] == "") & (table["metric"] == "accuracy")]
    acc = acc.assign(run=acc["seed"].astype(str) + "/" + acc["b"])
    wide = acc.pivot(index="run", columns="step", values="value")  # noqa: PD010
    accuracy = wide.reindex(index=fitted.series.runs, columns=fitted.series.steps).to_numpy()
    steps = np.asarray(fitted.series.steps, dtype=float)
    rows = []
    for k in range(fitted.model.count):
        inside = fitted.paths == k
        there = bool(inside.any())
        rows.append(
            {
                "state": k,
                "runs": int(inside.any(axis=1).sum()),
                "step": float(steps[np.nonzero(inside)[1]].mean()) if there else float("nan"),
                "share": float(inside.mean()),
                "accuracy": float(np.nanmean(accuracy[inside])) if there else float("nan"),
                **dict(zip(fitted.series.names, fitted.model.means[k].tolist(), strict=True)),
            }
        )
    return pd.DataFrame(rows)


def median_of(times: Array) -> float:
    """Return the median step; NaN where half of the runs or more never converged.

    >>> median_of(np.array([1.0, 3.0, np.inf])), median_of(np.array([1.0, np.inf, np.inf]))
    (3.0, nan)
    """
    found = float(np.median(times))
    return found if isfinite(found) else float("nan")


def as_json(rows: pd.DataFrame) -> str:
    """Return a table as JSON text that `from_json` reads; not finite is null.

    >>> as_json(pd.DataFrame({"a": [1.5, np.inf], "b": ["x", "y"]}))
    '{"a": [1.5, null], "b": ["x", "y"]}'
    """
    return json.dumps(
        {str(name): [_plain(v) for v in rows[name]] for name in rows}, allow_nan=False
    )


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not isfinite(value) else value


def from_json(text: Any) -> pd.DataFrame:
    """Return the table that `as_json` wrote; null is NaN.

    >>> from_json('{"a": [1.5, null]}')["a"].tolist()
    [1.5, nan]
    """
    found = pd.DataFrame(json.loads(text))
    numbers_ = [c for c in found if not any(isinstance(v, str) for v in found[c])]
    return found.astype(dict.fromkeys(numbers_, float))
