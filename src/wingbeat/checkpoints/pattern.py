"""Which replica and which step a checkpoint is of, read off its path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.checkpoints.foreign import refuse_remote
from wingbeat.checkpoints.open import expanded
from wingbeat.checkpoints.single_file import natural_order
from wingbeat.checkpoints.step import Step, read_step
from wingbeat.errors import RequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIELD = re.compile(r"\*|\{(?:step|replica)\}")
MOST_FILES = 1_000_000
"""Paths that a pattern may match."""


@dataclass(frozen=True)
class FoundFiles:
    """Checkpoints by replica and step.

    Attributes:
        paths: (replica, step) → path.
        replicas: names, numbers inside them in order of value; "" where the pattern names none.
        steps: those that every replica has, ascending.
        dropped: one sentence for each kind of path that matched and is not used.
        read: what the steps are, in a sentence; "" where the pattern leaves no doubt.
    """

    paths: dict[tuple[str, int], Path]
    replicas: tuple[str, ...]
    steps: tuple[int, ...]
    dropped: tuple[str, ...]
    read: str = ""


def is_pattern(text: str) -> bool:
    """Tell whether a text names several checkpoints.

    >>> is_pattern("run-*/step-*.pt"), is_pattern("a.pt")
    (True, False)
    """
    return _FIELD.search(text) is not None


def find_files(pattern: str) -> FoundFiles:
    """Find the checkpoints that a pattern matches.

    The last ``*`` (or ``{step}``) stands for the step, read as `wingbeat.checkpoints.step` tells;
    every other ``*`` (or ``{replica}``) for the replica. Folders are matched as well as files.

    Args:
        pattern: as ``"run-*/step-*.safetensors"`` or ``"{replica}/checkpoint-{step}"``.

    Raises:
        RequestError: it has no ``*``, matches nothing, one step twice, or no step in common.
        StoreError: a folder cannot be read.
    """
    refuse_remote(pattern)
    pattern = str(expanded(pattern))
    parts = Path(pattern).parts
    count = sum(len(_FIELD.findall(part)) for part in parts)
    if not count or "**" in pattern:
        msg = f"the pattern {pattern!r} needs * where the step stands, as in 'run-*/step-*.pt'"
        raise RequestError(msg)
    paths: dict[tuple[str, int], Path] = {}
    kinds: dict[str, Path] = {}
    odd = 0
    for path, fields in _matches(Path(), parts):
        replica, step = _meaning(pattern, fields)
        if step is None:
            odd += 1
        elif (replica, step.value) in paths:
            msg = (
                f"{paths[replica, step.value]} and {path} are both step {step.value}"
                f"{f' of {replica!r}' if replica else ''}: narrow the pattern so that it matches "
                "one of them, or say with {step} and {replica} what stands where"
            )
            raise RequestError(msg)
        else:
            paths[replica, step.value] = path
            kinds.setdefault(step.after, path)
        if len(paths) + odd > MOST_FILES:
            raise RequestError(f"{pattern!r} matches more than {MOST_FILES:,} paths: narrow it")
    return replace(_complete(pattern, paths, odd), read=_told(pattern, kinds))


def _told(pattern: str, kinds: dict[str, Path]) -> str:
    """Return what the steps are; refuse epochs among steps.

    Raises:
        RequestError: some names tell an epoch and others a step.
    """
    if "epoch" in kinds and len(kinds) > 1:
        other = next(path for kind, path in kinds.items() if kind != "epoch")
        msg = f"{kinds['epoch']} tells an epoch and {other} a step: narrow the pattern {pattern!r}"
        raise RequestError(msg)
    return "The steps of the file names are epochs." if "epoch" in kinds else ""


def _complete(pattern: str, paths: dict[tuple[str, int], Path], odd: int) -> FoundFiles:
    if not paths:
        raise RequestError(_nothing(pattern, odd))
    replicas = sorted({r for r, _ in paths}, key=natural_order)
    every = sorted({s for _, s in paths})
    steps = tuple(s for s in every if all((r, s) in paths for r in replicas))
    if not steps:
        raise RequestError(f"the replicas that {pattern!r} matches have no step in common")
    dropped = []
    if odd:
        dropped.append(f"{odd} matching paths hold no whole number where the step stands.")
    if len(steps) < len(every):
        less = [s for s in every if s not in set(steps)]
        shown = ", ".join(map(str, less[:5])) + (" …" if len(less) > 5 else "")
        dropped.append(f"{len(less)} steps that not every replica has are not used ({shown}).")
    kept = {key: path for key, path in paths.items() if key[1] in set(steps)}
    return FoundFiles(kept, tuple(replicas), steps, tuple(dropped))


def pattern_for(folder: Path) -> str:
    """Return what to write for the checkpoints in a folder; "" where it holds fewer than two.

    >>> pattern_for(Path("nowhere"))
    ''
    """
    names = [n for n in _listed(folder) if read_step(n) is not None] if folder.is_dir() else []
    patterns: dict[str, int] = {}
    for name in names:
        # The digits of the step: the last ones that are it, written in full or padded.
        step = read_step(name)
        spots = [m for m in re.finditer("[0-9]+", name) if step and int(m[0]) == step.value]
        if spots:
            begin, end = spots[-1].span()
            pattern = f"{name[:begin]}{{step}}{name[end:]}"
            patterns[pattern] = patterns.get(pattern, 0) + 1
    most = max(patterns.items(), key=lambda pair: pair[1], default=("", 0))
    return f"those of the folder as '{folder}/{most[0]}'" if most[1] > 1 else ""


def _nothing(pattern: str, odd: int) -> str:
    """Return why a pattern led to no checkpoint."""
    if odd:
        found = f"{pattern!r} matches no checkpoint with a whole number as its step"
        return found if "{step}" in pattern else f"{found}: say where it stands with {{step}}"
    more = ": look at its folders and endings"
    if re.search(r"[?\[]|\{[^}]*,", pattern):
        more = ": only * stands for something else in it; ?, [ ] and { , } are taken as they are"
    return f"{pattern!r} matches no checkpoint, nor any other file or folder{more}"


def _matches(root: Path, parts: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Walk down part by part: never deeper than the pattern, so a loop of links ends."""
    if not parts:
        yield root, ()
        return
    part, rest = parts[0], parts[1:]
    if not _FIELD.search(part):
        if os.path.lexists(root / part):
            yield from _matches(root / part, rest)
        return
    shape = re.compile("(.*)".join(map(re.escape, _FIELD.split(part))), re.DOTALL)
    for name in sorted(_listed(root), key=natural_order):
        match = shape.fullmatch(name)
        if match and (not name.startswith(".") or part.startswith(".")):
            for path, fields in _matches(root / name, rest):
                yield path, (*match.groups(), *fields)


def _listed(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        msg = f"the folder {folder} cannot be read ({error.strerror}): check it and its links"
        raise StoreError(msg) from error


def _meaning(pattern: str, fields: tuple[str, ...]) -> tuple[str, Step | None]:
    names = _FIELD.findall(pattern)
    place = names.index("{step}") if "{step}" in names else len(names) - 1
    field, around = fields[place], _FIELD.split(pattern)
    before, after = around[place], around[place + 1]
    if names[place] == "*":  # of step-1*.pt the number of step-12.pt is 12
        head, tail = re.search("[0-9]*$", before), re.match("[0-9]*", after)
        begin, end = head[0] if head else "", tail[0] if tail else ""
        field, before = f"{begin}{field}{end}", before.removesuffix(begin)
    step = read_step(field, before)
    if step is None and names[place] == "{step}" and field.isdecimal() and len(field) <= 15:
        step = Step(int(field), "")  # whatever it looks like, it was said to be the step
    others = [i for i in range(len(names)) if i != place]
    named = [i for i in others if names[i] == "{replica}"]
    return "/".join(fields[i] for i in named or others), step
