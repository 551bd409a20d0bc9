"""TensorBoard's event files: records of protocol buffers, read without TensorBoard.

Sources: tensorflow/core/lib/io/record_writer.h (length, masked checksum, bytes, masked checksum),
event.proto, summary.proto and tensor.proto for the numbers of fields.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from wingbeat.analyses.logged_runs.formats.wire import fields, floats, signed
from wingbeat.analyses.logged_runs.one_run import LoggedRun, seed_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME: Final = "tensorboard"
_STEP, _SUMMARY = 2, 5
_VALUE, _TAG, _SIMPLE, _TENSOR = 1, 1, 2, 8
_TYPE, _CONTENT, _FLOATS, _DOUBLES = 1, 4, 5, 6
_FLOAT, _DOUBLE = 1, 2


def takes(path: Path) -> bool:
    """Tell whether a file is an event file."""
    return ".tfevents." in path.name


def run_of(path: Path) -> Path:
    """Return the folder: a run that was resumed has several files in it."""
    return path.parent


def read(place: Path, files: Sequence[Path]) -> list[LoggedRun]:
    """Read the scalars of all event files of a folder, in the order in which they were begun."""
    run = LoggedRun(str(place), NAME, seed_of(hyperparameters(place), [str(place)]))
    for path in sorted(files, key=lambda p: p.name):
        for event in _records(path.read_bytes()):
            _note(run, event)
    return [run]


def hyperparameters(folder: Path) -> dict[str, object]:
    """Return what Lightning wrote as ``hparams.yaml`` beside a log, if it did."""
    path = folder / "hparams.yaml"
    if not path.is_file():
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}  # it may hold objects of Python, which are not ours to make
    return found if isinstance(found, dict) else {}


def _records(raw: bytes) -> Iterator[bytes]:
    """Yield the records; a last one that is cut off is of a run that was killed, or still runs."""
    place = 0
    while place + 12 <= len(raw):
        (length,) = struct.unpack_from("<Q", raw, place)
        if place + 16 + length > len(raw):
            return
        yield raw[place + 12 : place + 12 + length]
        place += 16 + length


def _note(run: LoggedRun, event: bytes) -> None:
    step, summary = 0, b""
    for number, value in fields(event):
        if number == _STEP and isinstance(value, int):
            step = signed(value)
        elif number == _SUMMARY and isinstance(value, bytes):
            summary = value
    for number, value in fields(summary):
        if number == _VALUE and isinstance(value, bytes):
            tag, scalar = _scalar(value)
            if scalar is not None:
                run.add(tag, step, scalar)


def _scalar(message: bytes) -> tuple[str, float | None]:
    """Return tag and value; None where it is a histogram, a text, a picture."""
    tag, found = "", None
    for number, value in fields(message):
        if not isinstance(value, bytes):
            continue
        if number == _TAG:
            tag = value.decode()
        elif number == _SIMPLE:
            found = floats(value)
        elif number == _TENSOR:
            found = _of_tensor(value)
    return tag, found


def _of_tensor(message: bytes) -> float | None:
    """Return a tensor of one number, as TensorFlow 2 writes scalars."""
    kind, raw = 0, b""
    for number, value in fields(message):
        if number == _TYPE and isinstance(value, int):
            kind = value
        elif number in (_CONTENT, _FLOATS, _DOUBLES) and isinstance(value, bytes):
            raw = value
    width = {_FLOAT: 4, _DOUBLE: 8}.get(kind)
    return floats(raw) if width is not None and len(raw) == width else None
