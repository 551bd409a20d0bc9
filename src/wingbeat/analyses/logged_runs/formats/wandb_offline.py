"""Offline runs of Weights & Biases: ``run-….wandb``, read without wandb.

Sources: wandb_internal.proto for the numbers of fields; the log format of LevelDB (blocks of 32 kB,
records in pieces), which the file takes over behind a head of 7 bytes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wingbeat.analyses.logged_runs.formats.wire import fields, signed
from wingbeat.analyses.logged_runs.one_run import LoggedRun, as_number, seed_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME: Final = "wandb"
_HEAD: Final = b":W&B"
_BLOCK: Final = 32_768
_HISTORY, _CONFIG, _RUN = 2, 5, 17
_ITEM, _HISTORY_STEP, _STEP_NUMBER = 1, 2, 1
_KEY, _NESTED, _JSON = 1, 2, 16
_RUN_ID, _RUN_CONFIG, _DISPLAY = 1, 4, 8
_FULL, _FIRST, _LAST = 1, 2, 4
_OWN_STEP: Final = "wingbeat/step"
"""What curves of wingbeat's are drawn over; see `wingbeat.integrations.trackers`."""


def takes(path: Path) -> bool:
    """Tell whether a file is a run of W&B."""
    return path.suffix == ".wandb"


def run_of(path: Path) -> Path:
    """Return the file: one a run."""
    return path


def read(place: Path, files: Sequence[Path]) -> list[LoggedRun]:
    """Read the history of a run; keys within keys are joined by dots, as W&B shows them."""
    del files
    run, name, identity = LoggedRun(str(place), NAME), "", ""
    config: dict[str, Any] = {}
    for record in _records(place.read_bytes()):
        for number, value in fields(record):
            if not isinstance(value, bytes):
                continue
            if number == _HISTORY:
                _note(run, value)
            elif number == _CONFIG:
                config |= dict(_items(value))
            elif number == _RUN:
                name, identity, told = _described(value)
                config |= told
    run.name = f"{name or place.stem} ({identity})" if identity else str(place)
    run.seed = seed_of(config, [name, str(place)])
    return [run]


def _records(raw: bytes) -> Iterator[bytes]:
    if raw[:4] != _HEAD:
        raise ValueError("it does not begin as W&B's files do")
    place, pieces = 7, b""
    while place + 7 <= len(raw):
        left = _BLOCK - place % _BLOCK
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", raw, place)
        if place + 7 + length > len(raw):
            return  # killed, or still running
        piece = raw[place + 7 : place + 7 + length]
        pieces = piece if kind in (_FULL, _FIRST) else pieces + piece
        if kind in (_FULL, _LAST):
            yield pieces
        place += 7 + length


def _note(run: LoggedRun, history: bytes) -> None:
    found = dict(_items(history))
    step = as_number(found.get(_OWN_STEP, found.get("_step")))
    for number, value in fields(history):
        if number == _HISTORY_STEP and isinstance(value, bytes) and step is None:
            numbers = [v for n, v in fields(value) if n == _STEP_NUMBER and isinstance(v, int)]
            step = float(signed(numbers[0])) if numbers else 0.0
    for key, value in found.items():
        scalar = as_number(value)
        if scalar is not None and not key.startswith("_") and key != _OWN_STEP:
            run.add(key, int(step or 0), scalar)


def _items(message: bytes) -> Iterator[tuple[str, Any]]:
    for number, value in fields(message):
        if number == _ITEM and isinstance(value, bytes):
            key, text = "", b"null"
            nested: list[str] = []
            for part, content in fields(value):
                if not isinstance(content, bytes):
                    continue
                if part == _KEY:
                    key = content.decode()
                elif part == _NESTED:
                    nested.append(content.decode())
                elif part == _JSON:
                    text = content
            yield key or ".".join(nested), json.loads(text)


def _described(message: bytes) -> tuple[str, str, dict[str, Any]]:
    found = {number: value for number, value in fields(message) if isinstance(value, bytes)}
    config = dict(_items(found.get(_RUN_CONFIG, b"")))
    return found.get(_DISPLAY, b"").decode(), found.get(_RUN_ID, b"").decode(), config
