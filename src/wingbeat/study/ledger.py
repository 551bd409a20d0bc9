"""What of a study is done: finished record folders, and a journal of every attempt.

A study's folder holds::

    ledger.jsonl              one line for each start and end of an attempt, only ever appended
    records/<key>/
      record.json             written last: the condition is done when it is there
      table.parquet           tidy rows
      run/                    the run itself while it is under way, or kept on request

Every line of the journal and every record carry a digest of their content, and a record also
that of its table, so that an altered byte is noticed and never used.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from wingbeat.errors import StoreError
from wingbeat.files import parquet, regular_bytes, unreadable, write_bytes, write_json
from wingbeat.study.condition import Condition

Status = Literal["done", "failed", "died"]


@dataclass(frozen=True)
class Record:
    """How one attempt at a condition ended.

    Attributes:
        key: of the condition.
        status: "done"; "failed" with an error; "died" where the worker process ended.
        error: what went wrong, one line; "" when done.
        seconds: wall clock of the attempt; of conditions that trained together, its share.
        company: how those ended that a pack took along; see `wingbeat.study.pack`.
    """

    key: str
    status: Status
    error: str = ""
    seconds: float = 0.0
    company: tuple[Record, ...] = ()

    @property
    def each(self) -> tuple[Record, ...]:
        """The record by itself, and those of its company.

        Example:
            >>> [r.key for r in Record("a", "done", company=(Record("b", "failed"),)).each]
            ['a', 'b']
        """
        return (replace(self, company=()), *self.company)


class Ledger:
    """The memory of a study.

    Args:
        folder: of the study; made if it is not there.

    Raises:
        StoreError: the folder cannot be made.

    Example:
        >>> import tempfile
        >>> ledger = Ledger(Path(tempfile.mkdtemp()))
        >>> ledger.is_done(Condition("m:f").key)
        False
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.journal = self.folder / "ledger.jsonl"
        self.records = self.folder / "records"
        try:
            self.records.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"the folder {self.folder} cannot be made ({error.strerror}): choose another"
            raise StoreError(msg) from error

    def place(self, key: str) -> Path:
        """Return the record folder of a condition."""
        return self.records / key

    def is_done(self, key: str) -> bool:
        """Tell whether a condition has a finished record."""
        return (self.place(key) / "record.json").is_file()

    def done(self) -> frozenset[str]:
        """Return the keys of all finished conditions, from one scan of the folder."""
        with os.scandir(self.records) as entries:
            found = [(entry.name, f"{entry.path}/record.json") for entry in entries]
        # Not as Path objects: of ten thousand conditions, making them would take most of the time.
        return frozenset(name for name, path in found if os.path.isfile(path))  # noqa: PTH113

    def left(self, conditions: Iterable[Condition]) -> list[Condition]:
        """Return the conditions that are not done, in order."""
        done = self.done()
        return [c for c in conditions if c.key not in done]

    def note(self, event: str, key: str, **facts: Any) -> None:
        """Append one line to the journal, whole or not at all.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        entry = {"event": event, "key": key, **facts}
        line = json.dumps({**entry, "check": _check(entry)}, allow_nan=False) + "\n"
        try:
            _append(self.journal, line)
        except OSError as error:
            msg = (
                f"{self.journal} cannot be written ({error.strerror}). Finished conditions are "
                "kept; make room or make the folder writable, then run the same command again"
            )
            raise StoreError(msg) from error

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of the journal; those cut short or altered are left out."""
        return (entry for _, entry in self._lines() if entry is not None)

    def unreadable(self) -> list[int]:
        """Return the numbers of the lines that were cut short or altered, the first being 1."""
        return [number for number, entry in self._lines() if entry is None]

    def _lines(self) -> Iterator[tuple[int, dict[str, Any] | None]]:
        if not self.journal.exists():
            return
        text = regular_bytes(self.journal).decode(errors="replace")
        for number, line in enumerate(text.split("\n"), 1):
            if line:
                yield number, _entry(line)

    def finish(self, condition: Condition, table: pd.DataFrame, facts: dict[str, Any]) -> None:
        """Write the record of a condition; the condition is done when this returns.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        place = self.place(condition.key)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{place} cannot be made ({error.strerror})") from error
        content = parquet(table)
        write_bytes(place / "table.parquet", content)
        record = {"key": condition.key, "condition": condition.to_json(), **facts}
        record["table_sha256"] = hashlib.sha256(content).hexdigest()
        record["digest"] = _digest(record)
        write_json(place / "record.json", record)

    def facts(self, key: str) -> dict[str, Any]:
        """Return the facts of a finished condition, without its table.

        Raises:
            StoreError: it is not done, or its record was altered; the message names it.
        """
        path = self.place(key) / "record.json"
        try:
            found = json.loads(regular_bytes(path))
        except PermissionError as error:
            raise unreadable(path, error) from error
        except (OSError, ValueError) as error:
            raise _unusable(path, str(error).splitlines()[0]) from error
        if not isinstance(found, dict) or found.pop("digest", None) != _digest(found):
            raise _unusable(path, "its content does not fit its digest")
        if found["key"] != key:
            raise _unusable(path, f"it is the record of {found['key']}")
        return found

    def table_bytes(self, key: str, facts: dict[str, Any]) -> bytes:
        """Return the table of a finished condition as it lies on disk, checked.

        Raises:
            StoreError: it is missing or was altered; the message names it.
        """
        path = self.place(key) / "table.parquet"
        try:
            content = regular_bytes(path)
        except PermissionError as error:
            raise unreadable(path, error) from error
        except OSError as error:
            raise _unusable(path, str(error.strerror)) from error
        if hashlib.sha256(content).hexdigest() != facts["table_sha256"]:
            raise _unusable(path, "its content does not fit its digest")
        return content

    def read(self, key: str) -> tuple[dict[str, Any], pd.DataFrame]:
        """Return the facts and the table of a finished condition.

        Raises:
            StoreError: it is not done, or a file was altered; the message names it.
        """
        facts = self.facts(key)
        return facts, pd.read_parquet(io.BytesIO(self.table_bytes(key, facts)))

    def end(self, record: Record) -> None:
        """Note in the journal how an attempt ended."""
        facts = asdict(record)
        del facts["company"]
        self.note(facts.pop("status"), facts.pop("key"), **facts)


def _unusable(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path} is missing or damaged ({why}): delete the folder {path.parent} and run the same "
        "command again; only this condition is computed anew"
    )


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _check(entry: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(entry).encode(), digest_size=4).hexdigest()


def _entry(line: str) -> dict[str, Any] | None:
    """Return what a line of the journal says, or None if it is not as it was written."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.pop("check", None) != _check(found):
        return None
    return found


def _append(path: Path, line: str) -> None:
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        if not _ends_a_line(handle):
            line = "\n" + line  # a kill cut the last line short; it is left as it is
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def _ends_a_line(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"
