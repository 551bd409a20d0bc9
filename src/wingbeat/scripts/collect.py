"""The checkpoints that copies of a script wrote, found and laid out as one trajectory."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wingbeat.checkpoints.open import open_checkpoint
from wingbeat.checkpoints.pattern import find_files, is_pattern
from wingbeat.checkpoints.step import read_step
from wingbeat.checkpoints.torch_file import load_outline
from wingbeat.errors import RequestError, RunError, WingbeatError
from wingbeat.replicas.fork import REFERENCE
from wingbeat.scripts.keep import NO_WEIGHTS
from wingbeat.scripts.layouts import by_shape, the_only_shape
from wingbeat.scripts.script_run import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
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
_WEIGHTS: Final = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar", ".pkl", ".model")
MOST: Final = 2**62
"""A step that no name counts to."""
_NOTHING: Final = re.compile("matches no checkpoint")


class FoundNotes(NamedTuple):
    """What is said of checkpoints that were found.

    Attributes:
        warnings: what is not used, or not sure.
        reading: how the rest is read, where that is not plain.
    """

    warnings: list[str]
    reading: list[str]


def written(
    folder: Path, pattern: str | None, kept: Path | None = None, key: str | None = None
) -> tuple[str, dict[int, Path]]:
    """Return the pattern that holds for a copy's folder, and its checkpoints by step.

    Args:
        folder: that the script wrote to.
        pattern: how it names them; None tries the usual ones.
        kept: where those lie that the script deleted again; what was seen of one in part only
            is left out.
        key: where the weights are inside ``.pt`` files.

    Raises:
        RunError: nothing is found.
        RequestError: two files are of one step.
    """
    doubt: WingbeatError | None = None
    if pattern and not is_pattern(pattern):  # a single one, without a step
        raise RunError(_nothing(folder))
    roots = (kept, folder) if kept is not None else (folder,)
    for one in (pattern,) if pattern else PATTERNS:
        found: dict[int, Path] = {}
        for root in roots:
            try:
                seen = find_files(f"{_escaped(root)}/{one}").paths
                found |= {
                    step: path
                    for (_, step), path in seen.items()
                    if root == folder or _readable(path, key)
                }
            except WingbeatError as error:
                if not _NOTHING.search(str(error)):
                    doubt = doubt or error
        if found:
            return one, dict(sorted(found.items()))
    try:
        shaped = None if pattern else _own_layout(folder, roots, key)
    except RequestError as several:
        raise RequestError(f"{doubt}; {several}" if doubt else str(several)) from doubt
    if shaped is None:
        raise doubt or RunError(_nothing(folder))
    return shaped


def _own_layout(
    folder: Path, roots: Sequence[Path], key: str | None
) -> tuple[str, dict[int, Path]] | None:
    """Return the checkpoints of a layout that is none of the usual ones; None where none is."""
    whole: dict[str, dict[int, Path]] = {}
    for root in roots:
        for shape, steps in by_shape(root, lambda path: _readable(path, key)).items():
            there = {s: p for s, p in steps.items() if root == folder or _readable(p, key)}
            whole[shape] = whole.get(shape, {}) | there
    only = the_only_shape(whole, folder)
    return None if only is None else (only[0], dict(sorted(only[1].items())))


def last_of(folder: Path, name: str | None = None, key: str | None = None) -> Path:
    """Return the only checkpoint of a script that writes one when it ends, without a step.

    Args:
        folder: that the script wrote to.
        name: of the file or folder; None takes the only one that holds weights.
        key: where the weights are inside ``.pt`` files.

    Raises:
        RunError: there is none, or several.
    """
    if name is not None:
        found = [folder / name] if (folder / name).exists() else []
    else:
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        found = [p for p in there if not p.name.startswith((".", *NO_WEIGHTS)) and _holds(p, key)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise RunError(_nothing(folder))
    names = sorted((p.name for p in found), key=lambda name: "best" not in name)
    msg = f"{folder} holds {names}, none with a step in its name: say which one counts"
    raise RunError(f"{msg} as --pattern {names[-1]!r} (pattern=)")


def _holds(path: Path, key: str | None) -> bool:
    if path.is_file() and path.suffix not in _WEIGHTS:
        return False
    return _readable(path, key)


def _readable(path: Path, key: str | None) -> bool:
    try:
        open_checkpoint(path, key=key)
    except WingbeatError:
        return False
    return True


def _nothing(folder: Path) -> str:
    there = sorted(p.name for p in folder.iterdir())[:8] if folder.is_dir() else []
    return (
        f"no checkpoint with a step in its name was found in {folder} (it holds {there}): let the "
        "script write into {out}, or say how they are named, as --pattern 'name-{step}.pt' "
        "(pattern=); what is trained is kept"
    )


def _escaped(folder: Path) -> str:
    text = str(folder)
    if "*" in text or "{" in text:
        raise RequestError(f"the folder {text!r} has * or {{ in its name: choose another")
    return text


def first_step(checkpoint: Path, steps: Sequence[int]) -> int:
    """Return the step of the checkpoint that was forked, if the script counts on from it.

    It is what its name tells, else what it holds: Trainer's state, or a number called "step",
    "global_step", "iteration", "iter_num" or "epoch".

    >>> from pathlib import Path
    >>> first_step(Path("checkpoint-500"), [600, 700]), first_step(Path("checkpoint-500"), [100])
    (500, 0)
    """
    read = read_step(checkpoint.stem if checkpoint.suffix else checkpoint.name, "")
    named = read.value if read is not None else _held_step(checkpoint)
    return named if all(step > named for step in steps) else 0


def _held_step(checkpoint: Path) -> int:
    content: Any = None
    try:
        if checkpoint.is_dir():
            content = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        elif checkpoint.suffix not in ("", ".safetensors", ".json"):
            content = load_outline(checkpoint)
    except Exception:  # a reader's own errors too: nothing is said there without running code
        return 0
    found = content if isinstance(content, dict) else {}
    numbers = (found.get(name) for name in _COUNTS)
    return next((n for n in numbers if type(n) is int and n > 0), 0)


_COUNTS: Final = ("global_step", "step", "iteration", "iter", "iter_num", "epoch")
"""What scripts call the place in training that they save beside the weights."""


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


def collected(
    starts: Mapping[str, Path], runs: Path, view: Path, pattern: str | None, key: str | None
) -> FoundNotes:
    """Find what the copies wrote, and lay it out as one trajectory.

    Args:
        starts: label → checkpoint that the copy started from; the reference first.
        runs: each copy's folder is ``runs/label``.
        view: where the links go.
        pattern: how the script names its checkpoints.
        key: where the weights are inside ``.pt`` files.

    Returns:
        What is not used, or not sure; and how the rest is read.

    Raises:
        RunError: nothing is found, or no step in common.
    """
    found: dict[str, dict[int, Path]] = {}
    name: str | None = None
    try:
        for label in starts:
            place, kept = runs / label, runs / KEPT / label
            try:  # what holds for the reference holds for all
                name, found[label] = written(place, pattern or name, kept, key)
            except RunError:  # unless a folder in it is called by the time
                if pattern or not name:
                    raise
                name, found[label] = written(place, None, kept, key)
    except RunError:
        if found:
            raise
        return _ends(starts, runs, view, pattern, key)
    own = found[REFERENCE]
    notes = lay_out(starts, found, first_step(starts[REFERENCE], list(own)), view)
    units = _units(own.values(), told=pattern is not None)
    return FoundNotes([*notes, *units.warnings], units.reading)


def _units(paths: Iterable[Path], *, told: bool) -> FoundNotes:
    """Say what the numbers in names count, unless steps; ``told`` where the user says where."""
    kinds: dict[str, Path] = {}
    for path in paths:
        read = next(filter(None, map(read_step, reversed(path.parts[-2:]))), None)
        kinds.setdefault("" if read is None else read.after, path)
    if "epoch" in kinds:
        return FoundNotes(
            [], ["The steps of the file names are epochs: rates by step are by epoch."]
        )
    if "" in kinds and not told:
        name = kinds[""].name
        note = f"Nothing in {name} says what its number counts: it is taken for a step."
        return FoundNotes([note], [])
    return FoundNotes([], [])


def _ends(
    starts: Mapping[str, Path], runs: Path, view: Path, pattern: str | None, key: str | None
) -> FoundNotes:
    """Lay out the single checkpoints of a script that saves only at the end."""
    last = {REFERENCE: last_of(runs / REFERENCE, pattern, key)}
    name = last[REFERENCE].name
    last |= {label: last_of(runs / label, name, key) for label in starts if label != REFERENCE}
    held = _one_step({label: _held_step(path) for label, path in last.items()}, name)
    at = first_step(starts[REFERENCE], [held or MOST])
    end = held or at + 1
    lay_out(starts, {label: {end: path} for label, path in last.items()}, at, view)
    if held:
        read = f"The script wrote one checkpoint, {name}: what it holds tells its step, {held}."
        return FoundNotes([], [read])
    note = (
        f"The script wrote one checkpoint, {name}, whose name tells no step: it is called step "
        f"{end}, and rates by step are in that unit."
    )
    if "best" in name.lower():
        note += (
            " By its name it is the best of each copy, perhaps of another step in each: let the "
            "script save its last."
        )
    return FoundNotes([note], [])


def _one_step(held: Mapping[str, int], name: str) -> int:
    """Return the step that the last checkpoints of all copies are of; 0 where they tell none.

    Raises:
        RunError: they are of different steps, as where each copy keeps its best.
    """
    own = held[REFERENCE]
    other = next((label for label, step in held.items() if step != own), None)
    if other is not None:
        msg = f"{name} of {REFERENCE} is of step {own}, that of {other} of step {held[other]}"
        raise RunError(
            f"{msg}: the script seems to save its best. Distances between different steps say "
            "nothing: let it save every checkpoint, or its last, and give another --out"
        )
    return own
