"""What a setting and the base seed do not explain of a number, and whether two of these agree."""

from __future__ import annotations

from math import nan

import numpy as np
import pandas as pd


def left_over(rows: pd.DataFrame, column: str, across: str) -> pd.Series:
    """Return what a setting and the base seed do not explain of a column: both means taken off.

    Only of settings at which every base seed has a value, so that the two can be parted.

    Args:
        rows: one for each setting and base seed ``seed``.
        column: the numbers.
        across: column of the setting.

    Returns:
        One for each row, NaN where the setting is left out.

    Example:
        >>> rows = pd.DataFrame({"lr": [1, 1, 2, 2], "seed": [0, 1, 0, 1], "v": [0.0, 1, 2, 5]})
        >>> left_over(rows, "v", "lr").tolist()
        [0.5, -0.5, -0.5, 0.5]
    """
    wide = rows.pivot_table(index=across, columns="seed", values=column, dropna=False)
    wide = wide.loc[wide.notna().all(axis=1)]
    middle = float(wide.to_numpy().mean()) if len(wide) else nan
    rest = wide.sub(wide.mean(axis=1), axis=0).sub(wide.mean(axis=0), axis=1) + middle
    values = [
        rest.loc[at, seed] if at in rest.index else nan
        for at, seed in zip(rows[across], rows["seed"], strict=True)
    ]
    return pd.Series(values, rows.index, dtype=np.float64)


def correlated(first: pd.Series, second: pd.Series) -> float:
    """Return the rank correlation of the pairs that both have; NaN of fewer than four.

    >>> round(correlated(pd.Series([1.0, 2, 3, 4]), pd.Series([1.0, 2, 3, 9])), 9)
    1.0
    """
    both = first.notna() & second.notna()
    if both.sum() < 4 or first[both].nunique() < 2 or second[both].nunique() < 2:
        return nan
    return float(first[both].rank().corr(second[both].rank()))
