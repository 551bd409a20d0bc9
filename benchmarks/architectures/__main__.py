"""Measure what is not measured yet, within a bound on time, and write the table."""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.architectures.every import every
from benchmarks.architectures.table import markdown

LONGEST = 120
"""Seconds that one architecture may take."""


def measure(names: Sequence[str], end: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each name; a process that dies or hangs costs one name.

    Args:
        names: of architectures.
        end: moment of the monotonic clock after which no further one is begun.
    """
    left = list(names)
    while left and time.monotonic() < end:
        words = [sys.executable, "-m", "benchmarks.architectures.measure", *left]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as worker:
            for row in _rows(worker):
                yield row or {"name": left[0], "groups": 0, "error": _why(worker)}
                left.pop(0)
                if row is None or not left or time.monotonic() > end:
                    break
            worker.kill()


def _rows(worker: subprocess.Popen[str]) -> Iterator[dict[str, Any] | None]:
    """Yield what a process measures, and None once it hangs or ends before its last name."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    out = worker.stdout
    assert out is not None

    def read() -> None:
        for line in out:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=LONGEST)
        except queue.Empty:
            yield None
            return
        if line.startswith("ROW "):
            yield json.loads(line[4:])
        elif not line:
            yield None
            return


def _why(worker: subprocess.Popen[str]) -> str:
    code = worker.poll()
    return f"longer than {LONGEST} s" if code is None else f"the process ended with {code}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architectures")
    parser.add_argument("results", type=Path, help="lines of JSON; what stands there is kept")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--only", default="", help="part of the names to measure")
    parser.add_argument("--again", action="store_true", help="measure anew what had an error")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    asked = parser.parse_args()
    rows = read(asked.results, again=asked.again)
    end = time.monotonic() + asked.seconds
    left = [name for name in every() if name not in rows and asked.only in name]
    for row in measure(left, end):
        rows[row["name"]] = row
        write(asked.results, rows)
        print(json.dumps(row), flush=True)
    missing = sum(name not in rows for name in left)
    if missing:
        print(f"{missing} architectures are left: run the same command again")
    if asked.markdown:
        asked.markdown.write_text(markdown([rows[n] for n in every() if n in rows]))


def read(path: Path, *, again: bool) -> dict[str, dict[str, Any]]:
    """Return the rows of a file by name, those with an error left out if asked."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = {row["name"]: row for row in map(json.loads, lines)}
    return {name: row for name, row in rows.items() if not (again and "error" in row)}


def write(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Write all rows beside the file and rename: a kill leaves a whole file."""
    beside = path.with_suffix(".part")
    beside.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    beside.replace(path)


if __name__ == "__main__":
    main()
