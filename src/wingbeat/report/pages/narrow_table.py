"""A table of findings in few columns: for a page, and for a terminal of 80 columns."""

from __future__ import annotations

import math

import pandas as pd

from wingbeat.report.prose import number


def narrow(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a table that fits: intervals beside values, no column that says nothing.

    >>> list(narrow(pd.DataFrame({"axis": ["arguments.lr"], "mean": [0.5], "low": [0.4],
    ...                           "high": [0.6], "undefined": [0], "reason": [""]})).columns)
    ['axis', 'mean']
    """
    out = rows.astype(object)
    for value, low, high in (("mean", "low", "high"), ("effect", "effect_low", "effect_high")):
        if {value, low, high} <= set(out.columns):
            triples = zip(out[value], out[low], out[high], strict=True)
            out[value] = [_with_interval(*triple) for triple in triples]
            out = out.drop(columns=[low, high])
    if "axis" in out:
        out["axis"] = [str(name).rpartition(".")[2] for name in out["axis"]]
    empty = [c for c in out if all(map(_says_nothing, out[c]))]
    out = out.drop(columns=[c for c in empty if c not in ("axis", "level", "rank", "n")])
    return out.rename(columns=lambda c: str(c).removeprefix("arguments."))


def _says_nothing(value: object) -> bool:
    undefined = value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
    return undefined or (isinstance(value, str | int | float) and value in ("", 0))


def _with_interval(value: float, low: float, high: float) -> str:
    if pd.isna(low) or pd.isna(high) or low == high:
        return cell(value)
    return f"{number(value)} ({number(low)} to {number(high)})"


def cell(value: object) -> str:
    """Return a value as short text.

    >>> cell(0.123456), cell(None), cell("a")
    ('0.1235', '–', 'a')
    """
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
