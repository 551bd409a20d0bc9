"""A table as curves by name: one for each copy, and a band for each perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd


def curves_of(table: pd.DataFrame, *, seeds: bool = False) -> Iterator[tuple[str, int, float]]:
    """Yield (name, step, value) of all curves of the whole model, each in the order of its steps.

    Names are ``metric/copy``, and ``metric/perturbation.mean``, ``.lowest`` and ``.highest`` over
    its copies. Undefined values are left out.

    Args:
        table: of a result.
        seeds: name the base seed first, from a column "seed".
    """
    table = table[(table["layer"] == "") & table["value"].notna()]
    if table.empty:
        return
    place = [f"seed-{s}/" for s in table["seed"]] if seeds else [""] * len(table)
    table = table.assign(
        place=place, copy=[_copy(a, b) for a, b in zip(table.a, table.b, strict=True)]
    )
    keys = ["place", "metric", "perturbation", "copy"]
    for (begin, metric, owner, copy), rows in table.groupby(keys, sort=False):
        name = f"{begin}{metric}/{copy or owner or 'all'}"
        for step, value in zip(rows["step"], rows["value"], strict=True):
            yield name, int(step), float(value)
    copies = table[(table["copy"] != "") & table["copy"].str.contains("#")]
    for (begin, metric, owner), rows in copies.groupby(["place", "metric", "perturbation"]):
        by_step = rows.groupby("step")["value"].agg(["mean", "min", "max"])
        for column, word in (("mean", "mean"), ("min", "lowest"), ("max", "highest")):
            steps = by_step.index.to_numpy(dtype=np.int64).tolist()
            for step, value in zip(steps, by_step[column].tolist(), strict=True):
                yield f"{begin}{metric}/{owner}.{word}", step, float(value)


def _copy(a: str, b: str) -> str:
    """Return which copy a row is of; a pair of copies where it is of two."""
    return f"{a} to {b}" if a not in ("", "reference") and b else b
