"""What of a study is done: finished record folders, and a journal of every attempt.

A study's folder holds::

    ledger.jsonl              one line for each start and end of an attempt, only ever appended
    records/<key>/
      record.json             written last: the condition is done when it is there
      table.parquet           tidy rows
      run/                    the run itself while it is under way, or kept on request
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from wingbeat.errors import StoreError
from wingbeat.study.condition import Condition
from wingbeat.trajectory.tensorfile import write_bytes

Status = Literal["done", "failed", "died"]


@dataclass(frozen=True)
class Record:
    """How one attempt at a condition ended.

    Attributes:
        key: of the condition.
        status: "done"; "failed" with an error; "died" where the worker process ended.
        error: what went wrong, one line; "" when done.
        seconds: wall clock of the attempt.
    """

    key: str
    status: Status
    error: str = ""
    seconds: float = 0.0


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
        try:
            (self.folder / "records").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"the folder {self.folder} cannot be made ({error.strerror}): choose another"
            raise StoreError(msg) from error

    def place(self, key: str) -> Path:
        """Return the record folder of a condition."""
        return self.folder / "records" / key

    def is_done(self, key: str) -> bool:
        """Tell whether a condition has a finished record."""
        return (self.place(key) / "record.json").is_file()

    def left(self, conditions: Iterable[Condition]) -> list[Condition]:
        """Return the conditions that are not done, in order."""
        return [c for c in conditions if not self.is_done(c.key)]

    def note(self, event: str, key: str, **facts: Any) -> None:
        """Append one line to the journal, whole or not at all."""
        line = json.dumps({"event": event, "key": key, **facts}, allow_nan=False) + "\n"
        handle = os.open(self.journal, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if not _ends_a_line(handle):
                line = "\n" + line  # a kill cut the last line short; it is left as it is
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of the journal; a line that a kill cut short is left out."""
        if not self.journal.exists():
            return
        for line in self.journal.read_text(encoding="utf-8").splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found

    def finish(self, condition: Condition, table: pd.DataFrame, facts: dict[str, Any]) -> None:
        """Write the record of a condition; the condition is done when this returns."""
        place = self.place(condition.key)
        place.mkdir(parents=True, exist_ok=True)
        write_bytes(place / "table.parquet", parquet(table))
        record = {"key": condition.key, "condition": condition.to_json(), **facts}
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        write_bytes(place / "record.json", text.encode())

    def read(self, key: str) -> tuple[dict[str, Any], pd.DataFrame]:
        """Return the facts and the table of a finished condition.

        Raises:
            StoreError: it is not done, or a file is damaged; the message names it.
        """
        place = self.place(key)
        try:
            facts: dict[str, Any] = json.loads((place / "record.json").read_text(encoding="utf-8"))
            return facts, pd.read_parquet(place / "table.parquet")
        except (OSError, ValueError) as error:
            msg = (
                f"{place} holds no readable record ({str(error).splitlines()[0]}): delete the "
                "folder and run the same command again"
            )
            raise StoreError(msg) from error

    def end(self, record: Record) -> None:
        """Note in the journal how an attempt ended."""
        facts = asdict(record)
        self.note(facts.pop("status"), facts.pop("key"), **facts)


def parquet(table: pd.DataFrame) -> bytes:
    """Return a table as a parquet file; equal tables give equal bytes."""
    import io

    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _ends_a_line(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"
