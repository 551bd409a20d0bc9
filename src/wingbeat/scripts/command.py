"""Run one command for every copy, each in a folder of its own; what is done is skipped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wingbeat.errors import RequestError, RunError
from wingbeat.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FIELDS: Final = ("{checkpoint}", "{out}")
"""What the command names, and every copy gets another of."""
SETTINGS: Final = {"PYTHONHASHSEED": "0", "MKL_CBWR": "AUTO", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Variables set for every copy alike, where the environment does not choose: each of them lets
equal commands give other bits."""
_LINES = 15


@dataclass(frozen=True)
class Command:
    """A command with places for the checkpoint and the folder of a copy."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        for field in FIELDS:
            if not any(field in word for word in self.words):
                msg = (
                    f"the command {' '.join(self.words)!r} does not name {field}: write it where "
                    "the script takes it, as in -- python train.py --resume {checkpoint} "
                    "--output {out}"
                )
                raise RequestError(msg)

    def filled(self, checkpoint: Path, out: Path) -> list[str]:
        """Return the command of one copy.

        >>> Command(("run", "--from={checkpoint}", "{out}")).filled(Path("a"), Path("b"))
        ['run', '--from=a', 'b']
        """
        values = {"{checkpoint}": str(checkpoint), "{out}": str(out)}
        return [_replaced(word, values) for word in self.words]


def _replaced(word: str, values: Mapping[str, str]) -> str:
    for field, value in values.items():
        word = word.replace(field, value)
    return word


def run_all(
    command: Command,
    starts: Mapping[str, Path],
    out: Path,
    *,
    jobs: int = 1,
    devices: Sequence[str] = (),
    tick: Callable[[str], None] = lambda _: None,
) -> None:
    """Run the command for every copy that is not done, the first alone, then ``jobs`` at a time.

    Args:
        command: what to run.
        starts: label → checkpoint to start from; the reference first.
        out: each copy's folder is ``out/label``; its log lies beside it.
        jobs: how many run side by side.
        devices: given to the jobs in turn as ``CUDA_VISIBLE_DEVICES``.
        tick: called with the label of each copy that begins.

    Raises:
        RunError: one ended with an error; those that are done are kept.
    """
    left = [label for label in starts if not _done(out, label, command, starts[label])]
    if left and left[0] == next(iter(starts)):  # a command that cannot run fails once
        _run_one(command, left[0], starts[left[0]], out, devices[:1], tick)
        left = left[1:]
    with ThreadPoolExecutor(jobs) as pool:
        futures = [
            pool.submit(_run_one, command, label, starts[label], out, _device(devices, i), tick)
            for i, label in enumerate(left)
        ]
        errors = [f.exception() for f in futures]
    for error in errors:
        if error is not None:
            raise error


def _device(devices: Sequence[str], place: int) -> Sequence[str]:
    return [devices[place % len(devices)]] if devices else []


def _run_one(
    command: Command,
    label: str,
    start: Path,
    out: Path,
    devices: Sequence[str],
    tick: Callable[[str], None],
) -> None:
    folder, log = out / label, out / f"{label}.log"
    shutil.rmtree(folder, ignore_errors=True)  # half of a run that was stopped
    folder.mkdir(parents=True)
    tick(label)
    words, begun = command.filled(start.resolve(), folder.resolve()), time.time()
    environment = SETTINGS | os.environ | {"WINGBEAT_REPLICA": label}
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[0]
    with log.open("wb") as file, _named(words):
        process = subprocess.Popen(  # noqa: S603  (the command is the user's)
            words, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code:
        raise RunError(f"{label} ended with exit code {code}; the end of {log}:\n{_tail(log)}")
    facts = {"command": words, "seconds": round(time.time() - begun, 3)}
    write_bytes(_mark(out, label), json.dumps(facts, indent=1).encode())


@contextlib.contextmanager
def _named(words: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{words[0]!r} cannot be run ({error.strerror}): name a program on the path"
        raise RequestError(msg) from error


def _done(out: Path, label: str, command: Command, start: Path) -> bool:
    mark = _mark(out, label)
    if not mark.exists():
        return False
    wanted = command.filled(start.resolve(), (out / label).resolve())
    return bool(json.loads(mark.read_text())["command"] == wanted)


def _mark(out: Path, label: str) -> Path:
    return out / f"{label}.done.json"


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]
    return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"
