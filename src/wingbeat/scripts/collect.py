"""The checkpoints that copies of a script wrote, found and laid out as one trajectory."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from wingbeat.checkpoints.pattern import find_files
from wingbeat.checkpoints.step import read_step
from wingbeat.errors import RequestError, RunError, WingbeatError
from wingbeat.replicas.fork import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATTERNS: Final = (
    "checkpoint-{step}",
    "checkpoint_{step}",
    "checkpoints/checkpoint_{step}",
    "step-{step}",
    "step_{step}",
    "step-{step}.safetensors",
    "step-{step}.pt",
    "step_{step}.pt",
    "checkpoint-{step}.pt",
    "checkpoint_{step}.pt",
    "ckpt_{step}.pt",
    "ckpt-{step}.pt",
    "model_{step}.pt",
    "*.ckpt",
    "checkpoints/*.ckpt",
    "lightning_logs/version_0/checkpoints/*.ckpt",
    "*.safetensors",
    "*.pt",
    "*.pth",
    "*.bin",
)
"""Where scripts write checkpoints below their output folder: Trainer, Accelerate, Lightning, and
hand-written ones. The first that matches something of the reference is taken."""


def written(folder: Path, pattern: str | None) -> tuple[str, dict[int, Path]]:
    """Return the pattern that holds for a copy's folder, and its checkpoints by step.

    Raises:
        RunError: nothing is found.
        RequestError: the pattern does not say where the step stands.
    """
    for one in (pattern,) if pattern else PATTERNS:
        try:
            found = find_files(f"{_escaped(folder)}/{one}")
        except WingbeatError:
            if pattern and not ("*" in pattern or "{step}" in pattern):
                raise
            continue
        return one, {step: path for (_, step), path in found.paths.items()}
    there = sorted(p.name for p in folder.iterdir())[:8] if folder.is_dir() else []
    msg = (
        f"no checkpoint with a step in its name was found in {folder} (it holds {there}): let the "
        "script write into {out}, or say how they are named with pattern='name-{step}'"
    )
    raise RunError(msg)


def _escaped(folder: Path) -> str:
    text = str(folder)
    if "*" in text or "{" in text:
        raise RequestError(f"the folder {text!r} has * or {{ in its name: choose another")
    return text


def first_step(checkpoint: Path, steps: Sequence[int]) -> int:
    """Return the step of the checkpoint that was forked: of its name where the script counts on.

    >>> from pathlib import Path
    >>> first_step(Path("checkpoint-500"), [600, 700]), first_step(Path("checkpoint-500"), [100])
    (500, 0)
    """
    read = read_step(checkpoint.stem if checkpoint.suffix else checkpoint.name, "")
    named = read.value if read is not None else 0
    return named if all(step > named for step in steps) else 0


def lay_out(
    starts: Mapping[str, Path], copies: Mapping[str, Mapping[int, Path]], at: int, view: Path
) -> list[str]:
    """Link starts and checkpoints as ``view/label/step-n``; returns what is not used, in words.

    Raises:
        RunError: the copies have no step in common.
    """
    shutil.rmtree(view, ignore_errors=True)
    shared = set.intersection(*(set(found) for found in copies.values()))
    if not shared:
        other = {label: sorted(found)[:3] for label, found in copies.items()}
        raise RunError(f"the copies wrote checkpoints at no common step: {other}")
    for label, found in copies.items():
        folder = view / label
        folder.mkdir(parents=True)
        _link(starts[label], folder / f"step-{at}")
        for step in shared - {at}:
            _link(found[step], folder / f"step-{step}")
    return [
        f"{label} wrote checkpoints at other steps than {REFERENCE}: only common ones count"
        for label, found in copies.items()
        if set(found) != set(copies[REFERENCE])
    ]


def _link(origin: Path, place: Path) -> None:
    place.symlink_to(origin.resolve(), origin.is_dir())
