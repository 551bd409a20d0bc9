"""Compare checkpoints of any size, never holding two whole models in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.checkpoints.adapters import adapters
from wingbeat.checkpoints.blocks import grams
from wingbeat.checkpoints.comparison import Comparison
from wingbeat.checkpoints.memory import parse_memory
from wingbeat.checkpoints.moments import WeightMoments
from wingbeat.checkpoints.names import LeftOut, Shared, few, match
from wingbeat.checkpoints.open import open_checkpoint
from wingbeat.checkpoints.prefixes import aligned
from wingbeat.checkpoints.pruned import masked
from wingbeat.checkpoints.read_plan import ReadPlan, make_plan
from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from wingbeat.checkpoints.source import Source

Tick = Callable[[str, int, int], None]
"""Called with what is being done, how many bytes of it are done, and how many there are."""


def compare(
    paths: Sequence[str | Path],
    memory: int | str = "1GiB",
    *,
    labels: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    key: str | None = None,
    check: bool = True,
    progress: Tick | None = None,
) -> Comparison:
    """Compare checkpoints tensor by tensor, and inside a tensor block by block, in float64.

    Args:
        paths: two or more: safetensors files, indices or folders of sharded ones, ``.pt`` files
            (state dicts), in any mixture and floating-point type. The first is the reference.
        memory: bound on what the comparison holds at once, on top of what the process has.
        labels: names in the table; by default the shortest part of each path that is its own.
        steps: training steps, for the ``step`` column; by default the places 0, 1, 2, …
        key: where the tensors are inside ``.pt`` files that hold more than a state dict.
        check: read files that carry a checksum (``.pt``, wingbeat snapshots) once more and
            refuse those that were altered.
        progress: called with a word, the bytes done and the bytes in all.

    Returns:
        The comparison; its bits do not depend on ``memory``.

    Raises:
        RequestError: fewer than two paths, nothing in common, or too little memory.
        StoreError: a file is damaged, asks to run code or is not what its name says.

    Example:
        >>> import tempfile, torch
        >>> from safetensors.torch import save_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file({"w": torch.tensor([3.0, 4.0])}, f"{folder}/a.safetensors")
        ...     save_file({"w": torch.tensor([3.0, 5.0])}, f"{folder}/b.safetensors")
        ...     found = compare([f"{folder}/a.safetensors", f"{folder}/b.safetensors"])
        >>> found.l2.tolist(), found.relative_l2.tolist()
        ([0.0, 1.0], [0.0, 0.2])
    """
    allowed = parse_memory(memory)
    places = [Path(p) for p in paths]
    named = _labels(places, labels)
    at = _steps(places, steps)
    tick = progress or (lambda *_: None)
    sources = aligned([masked(open_checkpoint(path, key=key)) for path in places])
    shared, left_out = match(sources, named)
    require_numbers(shared, left_out)
    width = max(e.torch_dtype.itemsize for t in shared for e in t.entries)
    plan = make_plan(len(places), width, allowed)
    checked = _check(sources, tick) if check else [False] * len(sources)
    moments = _measure(shared, plan, tick)
    return Comparison(
        paths=tuple(places),
        labels=named,
        steps=at,
        formats=tuple(source.format for source in sources),
        checked=tuple(checked),
        moments=moments,
        left_out=left_out,
        memory=plan.bytes,
        notes=(*told(sources, named), *coverage(shared, left_out, sources, named)),
        adapters=adapters(shared, sources),
    )


def told(sources: Sequence[Source], labels: Sequence[str]) -> tuple[str, ...]:
    """Return what was chosen in opening files, each sentence once, with the files it is of."""
    every, some = told_of_all(sources, labels)
    return (*every, *some)


def told_of_all(
    sources: Sequence[Source], labels: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what was chosen in opening all files, and what in some of them, with their labels."""
    found: dict[str, list[str]] = {}
    for source, label in zip(sources, labels, strict=True):
        for note in source.notes:
            found.setdefault(note, []).append(label)
    every = tuple(note for note, where in found.items() if len(where) == len(sources))
    some = (f"{few(where)}: {note}" for note, where in found.items() if len(where) < len(sources))
    return every, tuple(some)


def require_numbers(shared: Sequence[Shared], left_out: Sequence[LeftOut]) -> None:
    """Refuse checkpoints that have nothing in common which could be compared.

    Raises:
        RequestError: they have no tensor of one name and shape, or only empty ones.
    """
    if shared and not sum(tensor.numbers for tensor in shared):
        msg = (
            f"all {len(shared)} tensors that the checkpoints share are empty, as ZeRO stage 3 of "
            "DeepSpeed leaves them: put the weights together with its zero_to_fp32.py first"
        )
        raise RequestError(msg)
    if not shared:
        why = "; ".join(f"{x.name}: {x.why}, {x.detail}" for x in left_out[:5])
        msg = f"the checkpoints have no floating-point tensor of one name and shape ({why})"
        raise RequestError(msg)


def coverage(
    shared: Sequence[Shared],
    left_out: Sequence[LeftOut],
    sources: Sequence[Source],
    labels: Sequence[str],
) -> tuple[str, ...]:
    """Return a sentence where less than half of a checkpoint's numbers have a partner."""
    compared = sum(tensor.numbers for tensor in shared)
    alone = [one.name for one in left_out if one.why in ("missing", "shape")]
    most, label = 0, ""
    for source, named in zip(sources, labels, strict=True):
        own = [source.entries[name] for name in alone if name in source.entries]
        lost = sum(entry.numbers for entry in own if entry.kind == "float")
        most, label = max((most, label), (lost, named), key=lambda pair: pair[0])
    if most <= compared:
        return ()
    words = (
        f"Only {compared:,} of the {compared + most:,} numbers of {label} have a partner of the "
        "same name and shape: see what is left out, and whether these are of one model."
    )
    return (words,)


def _measure(shared: Sequence[Shared], plan: ReadPlan, tick: Tick) -> WeightMoments:
    """Stream all tensors in the order of the first file and keep their moments."""
    count = len(shared[0].entries)
    first = [t.entries[0] for t in shared]
    order = sorted(range(len(shared)), key=lambda i: (str(first[i].path), first[i].offset))
    total = sum(t.numbers * e.torch_dtype.itemsize for t in shared for e in t.entries)
    done = 0

    def read(size: int) -> None:
        nonlocal done
        done += size
        tick("comparing", done, total)

    found = WeightMoments.empty(shared, count)
    for place, product in grams([shared[i] for i in order], plan, read):
        found.take(order[place], product)
    return found


def _check(sources: Sequence[Source], tick: Tick) -> list[bool]:
    found = []
    for source in sources:
        done = 0

        def read(size: int, source: Source = source) -> None:
            nonlocal done
            done += size
            tick(f"checking {source.path.name}", done, 0)

        found.append(source.check(read))
    return found


def _labels(paths: Sequence[Path], labels: Sequence[str] | None) -> tuple[str, ...]:
    if len(paths) < 2:
        raise RequestError(f"{len(paths)} checkpoint was given: a comparison needs two or more")
    if labels is None:
        return short_labels(paths)
    named = tuple(str(label) for label in labels)
    if len(named) != len(paths) or len(set(named)) != len(named):
        raise RequestError(f"{len(named)} labels for {len(paths)} paths: give each its own")
    return named


def short_labels(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return for each path its last parts, as few as tell all of them apart.

    >>> short_labels([Path("a/seed-1/last.pt"), Path("a/seed-2/last.pt")])
    ('seed-1/last.pt', 'seed-2/last.pt')
    """
    deepest = max(len(p.parts) for p in paths)
    for count in range(1, deepest + 1):
        names = tuple("/".join(p.parts[-count:]) for p in paths)
        if len(set(names)) == len(names):
            return names
    return tuple(f"{name} ({i + 1})" for i, name in enumerate(map(str, paths)))


def _steps(paths: Sequence[Path], steps: Sequence[int] | None) -> tuple[int, ...]:
    if steps is None:
        return tuple(range(len(paths)))
    if len(steps) != len(paths):
        raise RequestError(f"{len(steps)} steps for {len(paths)} paths: give one for each")
    return tuple(int(step) for step in steps)
