"""Several results side by side: one table, one page, and what differs between what was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from wingbeat.errors import RequestError
from wingbeat.execution.result import Result, load

_SCALARS: Final = (
    "convergence_ratio",
    "lyapunov",
    "lyapunov_r2",
    "copies_grown",
    "copies",
    "final_l2",
    "final_disagreement",
    "final_barrier_train",
)


@dataclass(frozen=True)
class ComparedResults:
    """Several results side by side.

    Attributes:
        names: of the runs, each another.
        results: in the same order.
        table: a row for each run and perturbation: ``run``, ``perturbation``, ``behavior``, and
            the scalars with ``_low`` and ``_high``, the ends of their intervals; NaN where one is
            undefined or was not measured.
        differences: what differs between the requests: field, and the value of each run.
    """

    names: tuple[str, ...]
    results: tuple[Result, ...] = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    differences: pd.DataFrame = field(repr=False)

    def report(self, path: str | Path) -> Path:
        """Write one page with all runs: a table, the ratios, the spreads, and what differs."""
        from wingbeat.report.pages.runs import write_runs_page

        named = dict(zip(self.names, self.results, strict=True))
        return write_runs_page(named, self.differences, Path(path))

    def to_json(self) -> dict[str, Any]:
        """Return the table and the differences as plain JSON, with null for what is undefined."""
        return {name: _records(getattr(self, name)) for name in ("table", "differences")}

    def __str__(self) -> str:
        shown = self.table[["run", "perturbation", "behavior", "convergence_ratio"]]
        shown = shown.assign(interval=[_interval(row) for _, row in self.table.iterrows()])
        return shown.to_string(index=False, float_format=lambda x: f"{x:.3g}")


def compare_results(
    results: Sequence[Result | str | Path] | Mapping[str, Result | str | Path],
    names: Sequence[str] | None = None,
) -> ComparedResults:
    """Put results side by side: of several models, rates, data sets or sizes of a perturbation.

    Nothing is tested: whether two ratios differ, their intervals say, and those of runs that share
    a model, data or seed are not independent.

    Args:
        results: at least two results, or folders of finished runs; or a dict of them by name.
        names: what to call them; by default their folders, else what was trained.

    Raises:
        RequestError: fewer than two results, or names that are not as many or not distinct.
        StoreError: a folder holds no finished run.

    Example:
        >>> import torch
        >>> import wingbeat as wb
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> def result(rate):
        ...     task = wb.Task(
        ...         model=lambda: torch.nn.Linear(1, 1),
        ...         loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        ...         data=(x, 2 * x),
        ...         optimizer=lambda params: torch.optim.SGD(params, lr=rate),
        ...         batch_size=16,
        ...         steps=20,
        ...         name=f"line at {rate}",
        ...     )
        ...     return wb.run(task, wb.Gaussian(0.1), driver="loop")
        >>> both = compare_results([result(0.1), result(0.2)])
        >>> both.names
        ('line at 0.1', 'line at 0.2')
        >>> list(both.differences["field"])[:2]
        ['task.name', 'task.optimizer.groups[0].lr']
    """
    if isinstance(results, Mapping):
        names, results = list(results) if names is None else names, list(results.values())
    if isinstance(results, Result | str | Path) or len(results) < 2:
        raise RequestError("compare_results takes at least two results or folders, in a list")
    read = tuple(r if isinstance(r, Result) else load(r) for r in results)
    called = _names(read) if names is None else tuple(map(str, names))
    if len(called) != len(read) or len(set(called)) != len(called):
        raise RequestError(
            f"names is {list(called)}: give {len(read)} different names, one for each result"
        )
    named = dict(zip(called, read, strict=True))
    return ComparedResults(called, read, _table(named), _differences(named))


def _names(results: Sequence[Result]) -> tuple[str, ...]:
    """Return the folders' names where they differ, else what was trained, numbered if need be."""
    folders = [r.folder.name if r.folder else "" for r in results]
    if all(folders) and len(set(folders)) == len(folders):
        return tuple(folders)
    tasks = [str((r.condition.get("task") or {}).get("name") or "run") for r in results]
    return tuple(
        f"{name} ({tasks[: place + 1].count(name)})" if tasks.count(name) > 1 else name
        for place, name in enumerate(tasks)
    )


def _table(named: Mapping[str, Result]) -> pd.DataFrame:
    rows = []
    for run, result in named.items():
        for asked in result.perturbations:
            own = str(asked["name"])
            row: dict[str, Any] = {"run": run, "perturbation": own}
            row["behavior"] = result.verdict(own).behavior
            for name in _SCALARS:
                entry = result.summary.get(f"{own}/{name}", {})
                row |= {name: entry.get("value"), f"{name}_low": entry.get("low")}
                row[f"{name}_high"] = entry.get("high")
            rows.append(row)
    table = pd.DataFrame(rows)
    numbers = [c for c in table.columns if c not in ("run", "perturbation", "behavior")]
    return table.astype(dict.fromkeys(numbers, "float64"))


def _differences(named: Mapping[str, Result]) -> pd.DataFrame:
    """Return the fields in which the requests differ; digests of code and data only beside names.

    A model's digests differ whenever anything about it does: its count of weights says more.
    """
    flat = {run: dict(leaves(result.condition)) for run, result in named.items()}
    fields = dict.fromkeys(key for own in flat.values() for key in own)
    rows = [
        {"field": key, **{run: own.get(key, "") for run, own in flat.items()}}
        for key in fields
        if len({own.get(key, "") for own in flat.values()}) > 1
    ]
    return pd.DataFrame(rows, columns=["field", *flat])


def leaves(value: object, path: str = "") -> list[tuple[str, str]]:
    """Return (dotted path, text) for every leaf of nested JSON.

    >>> leaves({"task": {"steps": 5, "rates": [{"lr": 0.1}]}})
    [('task.steps', '5'), ('task.rates[0].lr', '0.1')]
    """
    if isinstance(value, Mapping) and value:
        inner = [(f"{path}.{k}" if path else str(k), v) for k, v in value.items()]
    elif isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        inner = [(f"{path}[{place}]", v) for place, v in enumerate(value)]
    else:
        return [(path, str(value))]
    return [leaf for key, one in inner for leaf in leaves(one, key)]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    plain = table.astype(object).where(table.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]


def _interval(row: Any) -> str:
    low, high = row["convergence_ratio_low"], row["convergence_ratio_high"]
    return f"{low:.3g} to {high:.3g}" if pd.notna(low) and pd.notna(high) else "none"
