"""Which entries of a study's conditions differ: its axes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from wingbeat.study.condition import Condition


def flat(condition: Condition) -> dict[str, Any]:
    """Return what decides a condition under one name each, those of ``cross``.

    Values that are lists or dicts become JSON text, so that they can be compared and sorted.

    Example:
        >>> found = flat(Condition("m:f", {"lr": 0.1, "hidden": [8, 4]}, seeds=(3,)))
        >>> found["arguments.lr"], found["arguments.hidden"], found["seed"]
        (0.1, '[8, 4]', 3)
    """
    found: dict[str, Any] = {"factory": condition.factory}
    found |= {f"arguments.{k}": _plain(v) for k, v in condition.arguments.items()}
    found |= {f"optimizer.{k}": _plain(v) for k, v in (condition.optimizer or {}).items()}
    if len(condition.perturbations) == 1:
        only = condition.perturbations[0]
        found |= {f"perturbation.{k}": _plain(v) for k, v in only.items()}
    else:
        found["perturbations"] = _plain(list(condition.perturbations))
    names = ("replicas", "record_every", "metrics", "dtype", "device", "driver", "measures")
    found |= {name: _plain(getattr(condition, name)) for name in names}
    seeds = condition.seeds
    return {**found, "seed": seeds[0] if len(seeds) == 1 else _plain(list(seeds))}


def varying(conditions: Sequence[Condition]) -> pd.DataFrame:
    """Return one row for each condition and one column for each entry that is not always the same.

    An entry that some conditions do not have is None there. The order of columns is that in
    which the entries are first met, seeds last.

    Returns:
        Indexed by key.

    Example:
        >>> grid = [Condition("m:f", {"lr": lr, "width": 8}) for lr in (0.1, 0.2)]
        >>> list(varying(grid)["arguments.lr"])
        [0.1, 0.2]
    """
    rows = [flat(condition) for condition in conditions]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns: dict[str, list[Any]] = {}
    for name in sorted(names, key=lambda n: n == "seed"):
        values = [row.get(name) for row in rows]
        if any(type(v) is not type(values[0]) or v != values[0] for v in values):
            columns[name] = values
    index = pd.Index([c.key for c in conditions], name="key")
    return pd.DataFrame({n: pd.Series(v, index, dtype=object) for n, v in columns.items()}, index)


def _plain(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, list | tuple | dict) else value
