"""What was measured once decides again: the same request keeps its driver on this machine.

Two drivers round differently, so a choice made anew by the clock could give two runs of one
request different bits. The first measurement is kept in the cache folder, one small file for
each recorded step, number of replicas, number of threads and version.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wingbeat.cache import cache_folder


@dataclass(frozen=True)
class DriverTimings:
    """What was chosen, and the milliseconds of a step for each candidate."""

    best: str
    timings: dict[str, float]


def key_of(facts: dict[str, Any]) -> str:
    """Return the name under which a choice is kept: a digest of all that it depends on.

    >>> key_of({"threads": 1}) == key_of({"threads": 2})
    False
    """
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def load(key: str) -> DriverTimings | None:
    """Return what was measured earlier, or None; a file that cannot be read counts as none."""
    try:
        found = json.loads(_path(key).read_text(encoding="utf-8"))
        timings = {str(k): float(v) for k, v in found["timings"].items()}
        if found["best"] not in timings:
            raise ValueError(f"{found['best']!r} is none of {', '.join(timings)}")
        return DriverTimings(str(found["best"]), timings)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logging.getLogger("wingbeat").warning("choice of a driver not read, %s: %s", key, error)
        return None


def store(key: str, measured: DriverTimings) -> DriverTimings:
    """Keep a measurement, unless another process was first; returns the one that is kept.

    A cache folder that cannot be written is no error: the choice is then made anew each time.
    """
    target = _path(key)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(measured), file)
        try:
            os.link(name, target)  # fails where the file exists: the first one stands
        finally:
            Path(name).unlink()
    except FileExistsError:
        return load(key) or measured
    except OSError as error:
        logging.getLogger("wingbeat").info("choice of a driver not kept: %s", error)
    return measured


def _path(key: str) -> Path:
    return cache_folder() / "drivers" / f"{key}.json"
