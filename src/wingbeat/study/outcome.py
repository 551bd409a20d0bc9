"""What a study has found: its records as two tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger, Record


@dataclass(frozen=True)
class StudyResult:
    """What a study has found so far.

    Attributes:
        folder: where it lies.
        conditions: one row for each condition of the grid, sorted by key: key, tags, what was
            asked, status, and the scalars of its first perturbation, each as ``name``,
            ``name_low``, ``name_high`` and ``name_reason``.
        table: tidy rows of all finished conditions, sorted: key, seed and the columns of a run.
        failures: the last record of each condition that was given up.
        environments: how each finished condition was executed, by key.
    """

    folder: Path
    conditions: pd.DataFrame
    table: pd.DataFrame
    failures: tuple[Record, ...]
    environments: dict[str, dict[str, Any]]


def collect(ledger: Ledger, grid: Sequence[Condition], failed: Mapping[str, Record]) -> StudyResult:
    """Read all records of a grid into one result.

    Raises:
        StoreError: a record is damaged.
    """
    rows, tables, environments = [], [], {}
    done = ledger.done()
    for condition in sorted(grid, key=lambda c: c.key):
        row = asked(condition)
        if condition.key not in done:
            there = failed.get(condition.key)
            rows.append({**row, "status": there.status if there else "not run"})
            continue
        facts = ledger.facts(condition.key)
        table = _table(ledger.table_bytes(condition.key, facts))
        environments[condition.key] = facts["environment"]
        rows.append({**row, "status": "done", **scalars(facts)})
        tables.append(table.append_column("key", pa.repeat(condition.key, len(table))))
    failures = tuple(failed.values())
    return StudyResult(ledger.folder, pd.DataFrame(rows), _joined(tables), failures, environments)


def _table(content: bytes) -> pa.Table:
    # Not read_table: it plans a data set anew for each file, which takes longer than the reading.
    file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
    return file.read(use_threads=False).replace_schema_metadata(None)


def _joined(tables: list[pa.Table]) -> pd.DataFrame:
    """Return tables one below the other, as they come; a column that one lacks is undefined."""
    if not tables:
        return pd.DataFrame({"key": []})
    whole = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    first = [c for c in ("key", "seed") if c in whole]
    found: pd.DataFrame = whole[first + [c for c in whole if c not in first]]
    return found


def asked(condition: Condition) -> dict[str, Any]:
    """Return what was asked of a condition as one row of a table.

    Example:
        >>> asked(Condition("m:f", {"lr": 0.1}, tags={"family": "dense"}))["arguments"]
        '{"lr": 0.1}'
    """
    row = {
        "key": condition.key,
        **condition.tags,
        "factory": condition.factory,
        "arguments": json.dumps(condition.arguments, sort_keys=True),
        "perturbations": json.dumps(condition.perturbations, sort_keys=True),
        "replicas": condition.replicas,
        "seeds": json.dumps(condition.seeds),
        "dtype": condition.dtype,
        "driver": condition.driver,
    }
    if condition.device != "cpu":
        row["device"] = condition.device
    if condition.optimizer is not None:
        row["optimizer"] = json.dumps(condition.optimizer, sort_keys=True)
    return row


def scalars(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scalars of a record as one row: ``name``, ``name_low``, ``name_high`` and so on.

    Undefined values are NaN with their reason. Those of single perturbations
    (``perturbation/name``) are left to the record.
    """
    row: dict[str, Any] = {
        "seconds": facts["seconds"],
        "processor_seconds": facts["processor_seconds"],
        "steps": facts["steps"],
        "steps_per_epoch": facts["steps_per_epoch"],
        "warnings": len(facts["warnings"]),
    }
    for name, found in facts["summary"].items():
        if "/" in name:
            continue
        row[name] = found["value"]
        if isinstance(found["value"], str):
            continue
        row[name] = _number(found["value"])
        for part in ("low", "high"):
            row[f"{name}_{part}"] = _number(found.get(part))
        row[f"{name}_reason"] = found.get("reason", "")
    return row


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
