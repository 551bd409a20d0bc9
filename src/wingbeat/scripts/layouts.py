"""Checkpoints in a layout of a script's own: found by what differs between their names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wingbeat.checkpoints.step import read_step
from wingbeat.errors import RequestError
from wingbeat.scripts.keep import NO_WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Steps = dict[int, Path]

_DEEPEST: Final = 4
"""Folders below the copy's: a project's, an experiment's and one for each epoch."""
_NO_CHECKPOINT: Final = re.compile(
    r"tfevents|\.(?:log|txt|out|err|json|jsonl|csv|tsv|ya?ml|toml|md|html|pdf|png|jpe?g|gif|svg|py|"
    r"ipynb|npy|parquet|lock|db|wandb)$",
    re.IGNORECASE,
)
"""Names of what scripts write beside checkpoints; all else is judged by its content."""


def by_shape(root: Path, holds: Callable[[Path], bool]) -> dict[str, Steps]:
    """Return checkpoints anywhere below a folder, grouped by their names without the step.

    Args:
        root: that a script wrote to.
        holds: tells whether a file or folder holds weights; asked once for each group.

    >>> by_shape(Path("nowhere"), lambda _: True)
    {}
    """
    found: dict[str, Steps] = {}
    for path in _leaves(root, _DEEPEST):
        shape, step = _shape(path.relative_to(root))
        if shape:
            found.setdefault(shape, {})[step] = path
    return {shape: steps for shape, steps in found.items() if holds(next(iter(steps.values())))}


def the_only_shape(shapes: dict[str, Steps], root: Path) -> tuple[str, Steps] | None:
    """Return the one group that there is, None where there is none.

    Raises:
        RequestError: there are several: the user says which one counts.
    """
    if len(shapes) > 1:
        names = sorted(shapes)
        raise RequestError(
            f"{root} holds checkpoints of several kinds, {', '.join(map(repr, names[:4]))}"
            f"{', …' if len(names) > 4 else ''}: say which one counts, as --pattern {names[0]!r} "
            "(pattern=); what is trained is kept"
        )
    return next(iter(shapes.items()), None)


def _leaves(folder: Path, deep: int) -> Iterator[Path]:
    """Yield files, and folders that are one checkpoint in several files."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith((".", *NO_WEIGHTS)) or _NO_CHECKPOINT.search(entry.name):
            continue
        path = Path(entry.path)
        if entry.is_file() or any(path.glob("*.index.json")) or (path / ".metadata").exists():
            yield path
        elif deep and entry.is_dir(follow_symlinks=False):
            yield from _leaves(path, deep - 1)


def _shape(path: Path) -> tuple[str, int]:
    """Return a path with {step} in the place of its step: in its last part that tells one.

    A folder must call it a step or an epoch: of an experiment's folder a number says another thing.
    """
    parts = list(path.parts)
    for place in reversed(range(len(parts))):
        step = read_step(parts[place])
        if step is not None and not step.after and place < len(parts) - 1:
            continue
        spots = [m for m in re.finditer("[0-9]+", parts[place]) if step and int(m[0]) == step.value]
        if step is not None and spots:
            begin, end = spots[-1].span()
            parts[place] = f"{parts[place][:begin]}{{step}}{parts[place][end:]}"
            return "/".join(parts), step.value
    return "", 0
