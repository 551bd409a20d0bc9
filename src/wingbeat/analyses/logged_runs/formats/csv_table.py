"""Tables of comma-separated values: a run a file, or a column that names the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from wingbeat.analyses.logged_runs.formats.event_file import hyperparameters
from wingbeat.analyses.logged_runs.one_run import LoggedRun, as_number, seed_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "csv"
_STEPS: Final = ("step", "global_step", "_step", "iteration", "iter", "update", "epoch")
"""Columns that count, the first that is there; what they are called in loggers' tables."""
_RUNS: Final = ("run", "run_id", "run_name", "seed")
_NO_METRICS: Final = {*_STEPS, *_RUNS, "time", "timestamp", "_timestamp", "_runtime", "wall_time"}


def takes(path: Path) -> bool:
    """Tell whether a file is such a table."""
    return path.suffix == ".csv"


def run_of(path: Path) -> Path:
    """Return the file."""
    return path


def read(place: Path, files: Sequence[Path]) -> list[LoggedRun]:
    """Read the columns of numbers; empty places are steps at which a column was not logged."""
    del files
    try:
        # As text: a value that was logged as "nan" is no empty place.
        table = pd.read_csv(place, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no table ({error})") from error
    step = next((name for name in _STEPS if name in table.columns), None)
    if step is None:
        raise ValueError(f"it has no column that counts: call one {_STEPS[0]!r}")
    counts = pd.to_numeric(table[step], errors="coerce")
    if counts.isna().all() or (counts.dropna() % 1 != 0).any():
        raise ValueError(f"its column {step!r} does not count in whole numbers")
    named = next((name for name in _RUNS if name in table.columns), None)
    place_name = str(place.parent if place.name == "metrics.csv" else place)
    if named is None or table[named].nunique() < 2:
        seed = seed_of(_config(table, place), [str(place)])
        return [_filled(LoggedRun(place_name, NAME, seed), table, step)]
    found = []
    for name, rows in table.groupby(named, sort=True):
        own = {"seed": rows["seed"].iloc[0]} if "seed" in rows else {}
        run = LoggedRun(f"{place_name}: {named} {name}", NAME, seed_of(own, [str(name)]))
        found.append(_filled(run, rows, step))
    return found


def _config(table: pd.DataFrame, place: Path) -> dict[str, Any]:
    own = {"seed": table["seed"].iloc[0]} if "seed" in table and len(table) else {}
    return {**hyperparameters(place.parent), **own}


def _filled(run: LoggedRun, rows: pd.DataFrame, step: str) -> LoggedRun:
    for column in [c for c in rows.columns if c not in _NO_METRICS]:
        for count, value in zip(rows[step], rows[column], strict=True):
            scalar, number = as_number(value), as_number(count)
            if scalar is not None and number is not None:
                run.add(str(column), int(number), scalar)
    return run
