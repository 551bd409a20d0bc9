"""MLflow's stores: folders of ``mlruns``, and the database that took their place in version 3."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from wingbeat.analyses.logged_runs.one_run import LoggedRun, as_number, seed_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "mlflow"
_TABLES: Final = {"runs", "metrics", "params"}


def takes(path: Path) -> bool:
    """Tell whether a file describes a run, or is a database."""
    return path.name == "meta.yaml" or path.suffix in {".db", ".sqlite"}


def run_of(path: Path) -> Path:
    """Return the run's folder, or the database."""
    return path.parent if path.name == "meta.yaml" else path


def read(place: Path, files: Sequence[Path]) -> list[LoggedRun]:
    """Read the runs that were not deleted; the folder of an experiment holds none of its own."""
    del files
    return _from_database(place) if place.is_file() else _from_folder(place)


def _from_folder(folder: Path) -> list[LoggedRun]:
    try:
        meta = yaml.safe_load((folder / "meta.yaml").read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError("meta.yaml is no YAML") from error
    alive = isinstance(meta, dict) and meta.get("lifecycle_stage", "active") == "active"
    if not alive or "run_id" not in meta:
        return []
    config = {p.name: p.read_text(encoding="utf-8") for p in _files(folder / "params")}
    name = str(meta.get("run_name") or "")
    run = LoggedRun(_named(name, str(meta["run_id"])), NAME)
    run.seed = seed_of(config, [name, str(folder)])
    for path in _files(folder / "metrics"):
        metric = path.relative_to(folder / "metrics").as_posix()
        for line in path.read_text(encoding="utf-8").splitlines():
            _, value, step = [*line.split(), "0"][:3]
            run.add(metric, int(step), float(value))
    return [run]


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []


def _from_database(path: Path) -> list[LoggedRun]:
    address = f"{path.resolve().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True)) as base:
        try:
            return _of(base)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"the database cannot be read ({error})") from error


def _of(base: sqlite3.Connection) -> list[LoggedRun]:
    there = {name for (name,) in base.execute("SELECT name FROM sqlite_master")}
    if not there >= _TABLES:
        raise ValueError("it is a database, though none of MLflow's")
    config: dict[str, dict[str, Any]] = {}
    for key, value, identity in base.execute("SELECT key, value, run_uuid FROM params"):
        config.setdefault(identity, {})[key] = value
    found = {}
    query = "SELECT run_uuid, name FROM runs WHERE lifecycle_stage = 'active'"
    for identity, name in base.execute(query):
        seed = seed_of(config.get(identity, {}), [name or ""])
        found[identity] = LoggedRun(_named(name or "", identity), NAME, seed)
    query = "SELECT run_uuid, key, step, value, is_nan FROM metrics ORDER BY timestamp"
    for identity, key, step, value, undefined in base.execute(query):
        number = float("nan") if undefined else as_number(value)
        if identity in found and number is not None:
            found[identity].add(key, int(step), number)
    return [run for run in found.values() if run.values]


def _named(name: str, identity: str) -> str:
    return f"{name} ({identity[:8]})" if name else identity
