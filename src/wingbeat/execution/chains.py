"""A result as an xarray data set for users of ArviZ: a chain is a copy, a draw a recorded step."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.replicas.fork import NULL, REFERENCE

if TYPE_CHECKING:
    import pandas as pd


def as_dataset(table: pd.DataFrame, *, checks: bool = False) -> Any:
    """Return the values of whole models that belong to one copy: dimensions ``chain``, ``draw``.

    Args:
        table: of a result.
        checks: include the reference and the unperturbed twin.

    Raises:
        RequestError: xarray is not installed, or no metric is of one copy.
    """
    xarray = _library()
    rows = table[(table["layer"] == "") & (table["b"] != "")]
    rows = rows[rows["a"].isin(["", REFERENCE])]
    if not checks:
        rows = rows[~rows["b"].isin([REFERENCE, NULL])]
    if rows.empty:
        raise RequestError("no metric of this result belongs to one copy: ask for l2 or a loss")
    rows = rows.assign(seed=rows.get("seed", 0))
    chains = list(rows.groupby(["seed", "b"], sort=False).groups)
    draws = sorted(set(rows["step"]))
    found = {}
    for metric, own in rows.groupby("metric", sort=False):
        values = np.full((len(chains), len(draws)), np.nan)
        chain = {key: place for place, key in enumerate(chains)}
        places = [chain[key] for key in zip(own["seed"], own["b"], strict=True)]
        values[places, np.searchsorted(draws, own["step"])] = own["value"]
        found[metric] = (("chain", "draw"), values)
    seeds, copies = zip(*chains, strict=True)
    owners = [name.rsplit("#", 1)[0] for name in copies]
    beside = {"replica": list(copies), "perturbation": owners, "base_seed": list(map(int, seeds))}
    return xarray.Dataset(
        found,
        coords={
            "chain": np.arange(len(chains)),
            "draw": draws,
            **{name: ("chain", values) for name, values in beside.items()},
        },
    )


def _library() -> Any:
    try:
        return importlib.import_module("xarray")
    except ImportError as error:
        raise RequestError("to_xarray needs xarray: pip install 'wingbeat[xarray]'") from error
