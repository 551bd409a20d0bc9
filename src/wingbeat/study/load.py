"""A study on disk as tables: its conditions in memory, its rows lazily through DuckDB."""

from __future__ import annotations

import glob
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from wingbeat.errors import RequestError, StoreError
from wingbeat.study.axes import varying
from wingbeat.study.condition import Condition
from wingbeat.study.correlation import correlate
from wingbeat.study.effects import best_of, leaderboard, marginal_effects
from wingbeat.study.ledger import Ledger
from wingbeat.study.outcome import scalars


@dataclass(frozen=True)
class LoadedStudy:
    """The finished conditions of one or several studies.

    Attributes:
        records: facts of each finished condition by key, as ``record.json`` holds them.
        paths: the table of each finished condition by key.
    """

    records: Mapping[str, dict[str, Any]]
    paths: Mapping[str, Path]

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def asked(self) -> tuple[Condition, ...]:
        """The conditions, sorted by key."""
        return tuple(Condition.from_json(found["condition"]) for found in self.records.values())

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """What differs between the conditions, such as ``arguments.lr``; the seed last."""
        return tuple(varying(self.asked).columns)

    @cached_property
    def conditions(self) -> pd.DataFrame:
        """One row for each condition: key, axes, tags, and its scalars with intervals."""
        axes = varying(self.asked)
        rows = [
            {"key": c.key, **axes.loc[c.key].to_dict(), **_others(c.tags, axes), **scalars(found)}
            for c, found in zip(self.asked, self.records.values(), strict=True)
        ]
        return pd.DataFrame(rows)

    @property
    def table(self) -> Any:
        """The tidy rows of all conditions as a DuckDB relation: nothing is read before it is asked.

        Columns: key, those of a run's table, and seed where conditions have several. ``.df()``
        reads it whole; ``.filter("metric = 'l2'")``, ``.aggregate(…)`` and SQL through
        ``query`` read what they need.

        Raises:
            RequestError: DuckDB is not installed, or no condition is done.
        """
        return self._connection.table("results")

    def query(self, sql: str) -> Any:
        """Return the result of SQL over the tables ``results`` and ``conditions``, lazily.

        Example:
            ``study.query("SELECT key, max(value) FROM results WHERE metric = 'l2' GROUP BY key")``
        """
        return self._connection.sql(sql)

    @cached_property
    def _connection(self) -> Any:
        try:
            duckdb = importlib.import_module("duckdb")
        except ImportError as error:
            msg = "the table of a study needs DuckDB: pip install 'wingbeat[studies]'"
            raise RequestError(msg) from error
        if not self.paths:
            raise RequestError("no condition is done: run the study first")
        connection = duckdb.connect(":memory:")
        rows = connection.read_parquet(
            [str(path) for path in self.paths.values()], filename=True, union_by_name=True
        )
        key = "regexp_extract(filename, '([0-9a-f]+)[/\\\\][^/\\\\]*$', 1) AS key"
        rows.project(f"{key}, * EXCLUDE (filename)").create_view("results")
        connection.register("conditions", self.conditions)
        return connection

    def effects(self, value: str = "lyapunov") -> pd.DataFrame:
        """Return the marginal effects of each axis on a scalar; see ``marginal_effects``."""
        return marginal_effects(self.conditions, self.axes, value)

    def leaderboard(self, value: str = "lyapunov", *, lowest: bool = True) -> pd.DataFrame:
        """Return the cells by a scalar, averaged over base seeds; see ``leaderboard``."""
        return leaderboard(self.conditions, self.axes, value, lowest=lowest)

    def correlate(
        self, measured: Sequence[str], outcomes: Sequence[str], **options: Any
    ) -> pd.DataFrame:
        """Return the correlation of scalars with test metrics; see ``correlation.correlate``."""
        return correlate(self.conditions, measured, outcomes, **options)

    def best(self, value: str = "lyapunov", *, lowest: bool = True) -> Condition:
        """Return the condition with the best value of a scalar."""
        key = best_of(self.conditions, value, lowest=lowest)["key"]
        return next(c for c in self.asked if c.key == key)


def load_study(*folders: str | Path, check: bool = True) -> LoadedStudy:
    """Open the finished conditions of studies; their tables stay on disk.

    Args:
        folders: of studies; names may hold wildcards, as ``runs/*``. A condition that several
            studies hold counts once.
        check: compare each table with the digest in its record, which reads every table once.

    Raises:
        RequestError: no folder is given.
        StoreError: a folder holds no study, or a file is damaged; the message names it.

    Example:
        >>> import tempfile
        >>> from wingbeat.study.run import run_study
        >>> place = "wingbeat.testing.runners:line"
        >>> grid = [Condition(place, {"lr": lr}, replicas=3) for lr in (0.05, 0.1)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = run_study(grid, folder)
        ...     study = load_study(folder)
        >>> len(study), study.axes, study.best("lyapunov").arguments
        (2, ('arguments.lr',), {'lr': 0.1})
    """
    if not folders:
        raise RequestError("give at least one folder of a study")
    records: dict[str, dict[str, Any]] = {}
    paths: dict[str, Path] = {}
    for folder in (found for name in folders for found in _matching(name)):
        ledger = Ledger(folder)
        for key in ledger.done() - set(records):
            records[key] = ledger.facts(key)
            paths[key] = ledger.place(key) / "table.parquet"
            if check:
                ledger.table_bytes(key, records[key])
    order = sorted(records)
    return LoadedStudy({k: records[k] for k in order}, {k: paths[k] for k in order})


def _matching(name: str | Path) -> list[Path]:
    found = [Path(p) for p in sorted(glob.glob(str(name)))]  # noqa: PTH207  (may be absolute)
    studies = [p for p in found if (p / "records").is_dir()]
    if not studies:
        raise StoreError(f"{name} holds no study: there is no folder records in it")
    return studies


def _others(tags: Mapping[str, Any], axes: pd.DataFrame) -> dict[str, Any]:
    """Return the tags that are not named like an axis."""
    return {name: value for name, value in tags.items() if name not in axes}
