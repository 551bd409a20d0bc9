"""The work on one copy of a script: picklable, so that any runner can do it on any machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wingbeat.files import write_bytes
from wingbeat.fingerprint import processor_name
from wingbeat.scripts import guard
from wingbeat.scripts.keep import Keeper
from wingbeat.study.ledger import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wingbeat.study.condition import Condition

SETTINGS: Final = {"PYTHONHASHSEED": "0", "MKL_CBWR": "AUTO", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Variables set for every copy alike, where the environment does not choose: each of them lets
equal commands give other bits."""
NOT_RUNNABLE: Final = "cannot be run"
_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_SIGNALS: Final = 64
"""Signals of Linux; a script that ends with -1 has exit code 255."""
_PAUSE: Final = 0.05
"""Seconds between two looks at a script: seldom enough to cost nothing."""


@dataclass(frozen=True)
class ScriptRun:
    """Run a script for one copy; a condition's arguments say which.

    Args:
        out: folder of all copies: each has one of its label there, a log beside it, and a mark
            once it is done.
        cwd: where the script runs: relative paths in it mean what they mean to the caller.
        settings: variables of the environment beside those of the machine.
    """

    out: Path
    cwd: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    goes_on = False
    """Stopped half way, a copy begins anew: only the script itself could go on with its noise."""

    def __call__(self, condition: Condition) -> Record:
        """Run the script to its end; errors are returned."""
        begun = time.monotonic()
        try:
            started = self.begin(condition)
            try:
                while (record := started.look()) is None:
                    time.sleep(_PAUSE)
            except BaseException:
                started.stop()
                raise
        except OSError as error:  # the rest goes on
            return Record(condition.key, "failed", str(error), time.monotonic() - begun)
        return record

    def begin(self, condition: Condition, device: str | None = None) -> Started:
        """Start the script of a copy; ``device`` is what it sees of CUDA.

        Raises:
            OSError: it cannot be run here.
        """
        label, words = condition.arguments["label"], condition.arguments["command"]
        environment = SETTINGS | os.environ | dict(self.settings) | {"WINGBEAT_REPLICA": label}
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        if not self.cwd.is_dir():
            msg = f"the folder {self.cwd} is not on {platform.node()}: use a disk that all see"
            raise OSError(msg)
        if _program(words[0], self.cwd) is None:
            msg = f"{words[0]!r} {NOT_RUNNABLE} on {platform.node()}: name a program on the path"
            raise OSError(msg)
        return Started(self, condition, words, environment)


def _program(name: str, cwd: Path) -> str | None:
    return shutil.which(str(cwd / name) if os.sep in name else name)


class Started:
    """A script that runs."""

    def __init__(
        self, run: ScriptRun, condition: Condition, words: list[str], environment: dict[str, str]
    ) -> None:
        self.label, self.run, self.words = condition.arguments["label"], run, words
        self.key, self.begun = condition.key, time.monotonic()
        folder, kept = run.out / self.label, run.out / KEPT / self.label
        for place in (folder, kept):
            place.mkdir(parents=True, exist_ok=True)
        self.keeper = Keeper(folder, kept)
        lock = run.out / KEPT / f"{self.label}.lock"
        settings = json.dumps({"lock": str(lock), "fresh": [str(folder), str(kept)]})
        self.where = where()
        self.where |= {n: environment[n] for n in _THREADS if n in environment}
        with log_of(run.out, self.label).open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603  (the command is the user's)
                [sys.executable, "-I", guard.__file__, settings, *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=run.cwd,
            )

    def look(self) -> Record | None:
        """Keep the checkpoints that have appeared; returns how it ended, or None."""
        code = self.process.poll()
        if code is None:
            self.keeper.look()
            return None
        seconds = time.monotonic() - self.begun
        self._let_go()
        if code:
            killed = 128 < code <= 128 + _SIGNALS
            said = f"signal {code - 128}" if killed else f"exit code {code}"
            return Record(self.key, "failed", said, seconds)
        self.keeper.end()
        facts: dict[str, Any] = {"command": self.words, "seconds": round(seconds, 3)}
        facts |= {"where": self.where, "not_kept": self.keeper.refused}
        write_bytes(mark_of(self.run.out, self.label), json.dumps(facts, indent=1).encode())
        return Record(self.key, "done", "", seconds)

    def stop(self) -> None:
        """End the script, and wait until it has."""
        self._let_go()  # the guard sees the end of its pipe
        self.process.wait()

    def _let_go(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()


KEPT: Final = ".kept"
"""Folder of checkpoints that scripts deleted again, and of locks, beside those of the copies."""


def log_of(out: Path, label: str) -> Path:
    """Return where the words of a copy's script go."""
    return out / f"{label}.log"


def mark_of(out: Path, label: str) -> Path:
    """Return the file that says that a copy is done."""
    return out / f"{label}.done.json"


def where() -> dict[str, str]:
    """Return what of this machine can change the bits of a training."""
    found = {"processor": processor_name()}
    models = set()
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        models |= {line.partition(":")[2].strip() for line in lines if line.startswith("Model")}
    if models:
        found["gpu"] = ", ".join(sorted(models))
    return found
