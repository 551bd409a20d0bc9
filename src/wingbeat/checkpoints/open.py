"""Open what lies at a path as a checkpoint: decided by content, never by suffix."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.checkpoints.foreign import foreign_folder, refuse_remote
from wingbeat.checkpoints.formats.registry import format_of, in_order
from wingbeat.checkpoints.formats.sharded import INDEX
from wingbeat.checkpoints.names import few
from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from wingbeat.checkpoints.source import Source

_INDICES = ("*.safetensors.index.json", "*.bin.index.json")
ALONE = ("model.safetensors", "pytorch_model.bin")
_SAVED = (".pt", ".pth", ".ckpt", ".bin", ".tar")
# What trainers keep beside weights: optimizers, losses, schedules, random states, arguments.
_NO_MODEL = re.compile(
    r"optim|criterion|history|sched|rng|random|scaler|training_args|^events\.", re.I
)
# A shard, a rank of Megatron or DeepSpeed, a part of Llama's own layout.
_PART = re.compile(
    r"(?<=-)[0-9]+(?=-of-)|(?<=rank_)[0-9]+|(?<=rank)(?P<own>[0-9]+)|(?<=^consolidated\.)[0-9]+"
)
_RANK = re.compile(r"rank_?[0-9]", re.I)
_RANKS = (
    "each is what one rank saved. Name one of them if every rank saved the whole model, else put "
    "the parts together first (DeepSpeed: its zero_to_fp32.py; FSDP: save a full state dict)"
)
# What compilation, FSDP and activation checkpointing put into names, anywhere.
_INSIDE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_BEFORE = "module."  # what data parallelism puts before all names


def open_checkpoint(path: str | Path, *, key: str | None = None) -> Source:
    """Open a checkpoint of any format; reads names and shapes, no numbers.

    Args:
        path: a safetensors file, an index of a sharded one, a ``.pt`` file, or a folder that
            holds one of these under a usual name, or one safetensors file and no other, or what
            ``torch.distributed.checkpoint`` wrote.
        key: where the tensors are inside a ``.pt`` file or a distributed checkpoint that holds
            more than a state dict.

    Raises:
        RequestError: there is nothing, or nothing that is a checkpoint.
        StoreError: it is damaged, asks to run code, or is not what its name says.

    Example:
        >>> import tempfile, torch
        >>> from safetensors.torch import save_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file({"w": torch.ones(2, 3)}, f"{folder}/a.safetensors")
        ...     source = open_checkpoint(f"{folder}/a.safetensors")
        >>> source.format, source.entries["w"].shape, source.entries["w"].dtype
        ('safetensors', (2, 3), 'float32')
    """
    refuse_remote(path)
    given = expanded(path)
    target = located(given)
    source = _bare(format_of(target).function(target, key))
    notes = _beside(given, target)
    return replace(source, notes=(*source.notes, *notes)) if notes else source  # type: ignore[type-var]


def expanded(path: str | Path) -> Path:
    """Return a path with the user's own folder for a ``~`` that it begins with."""
    found = Path(path)
    home = found.parts[:1] == ("~",) and not found.exists()
    return found.expanduser() if home else found


def located(path: Path) -> Path:
    """Return the file that stands for a path: itself, or the one of a folder.

    Raises:
        RequestError: there is none.
    """
    if not path.is_dir():
        return path
    for one in in_order():
        if (standing := one.in_folder(path)) is not None:
            found = [standing]
            break
    else:
        others = sorted(p for ending in _INDICES for p in path.glob(ending))
        alone = [path / name for name in ALONE if (path / name).exists()]
        # An adapter or a part of a diffusion pipeline: one file whose name tells what it is.
        found = others or alone or sorted(path.glob("*.safetensors")) or _weights_in(path)
    if found and found[0].name == INDEX and (path / ALONE[0]).exists():
        found.append(path / ALONE[0])  # one of the two is left over from an earlier save
    if not found:
        raise RequestError(f"the folder {path} {foreign_folder(path)}")
    if len(found) > 1:
        names = few([p.name for p in found])
        if all(re.search("-[0-9]+-of-[0-9]+", p.name) for p in found):
            msg = f"the folder {path} holds shards ({names}) without their index: copy {INDEX} too"
            raise RequestError(msg)
        how = _RANKS if all(_RANK.search(p.name) for p in found) else "name the file itself"
        raise RequestError(f"the folder {path} holds several checkpoints ({names}): {how}")
    return found[0]


def _weights_in(folder: Path) -> list[Path]:
    """Return the files of ``torch.save`` in a folder that can be a model's."""
    files = (p for ending in _SAVED for p in folder.glob(f"*{ending}"))
    return sorted(p for p in files if not _NO_MODEL.search(p.name))


def _beside(given: Path, target: Path) -> tuple[str, ...]:
    """Return what of a model, or of another one, is not read, in sentences."""
    part = _PART.search(target.name)
    if part and target.is_file():
        shape = f"{target.name[: part.start()]}*{target.name[part.end() :]}"
        others = sorted(p.name for p in target.parent.glob(shape) if p != target)
        if others:
            what = "what one rank saved" if part["own"] else "a part of a model"
            return (f"{target.name} is {what}; not read: {few(others)}.",)
    if target == given or target.name not in ALONE:
        return ()
    stem = re.compile(rf"{re.escape(target.stem)}_\d+")  # as Accelerate numbers several models
    there = given.glob(f"*{target.suffix}")
    others = sorted(p.name for p in there if stem.fullmatch(p.stem))
    return (f"Not read, beside {target.name}: {few(others)}.",) if others else ()


def _bare(source: Source) -> Source:
    """Take out of the names what wrappers put there, until nothing changes."""
    names = [*source.entries, *source.tied]
    bare = _stripped(names)
    if bare == names or len(set(bare)) < len(bare):
        return source
    new = dict(zip(names, bare, strict=True))
    entries = {new[n]: replace(e, name=new[n]) for n, e in source.entries.items()}
    tied = {new[n]: new[kept] for n, kept in source.tied.items()}
    return replace(source, entries=entries, tied=tied)  # type: ignore[type-var]


def _stripped(names: list[str]) -> list[str]:
    before: list[str] = []
    while before != names:
        before = names
        names = [_without(name) for name in names]
        if names and all(n.startswith(_BEFORE) and len(n) > len(_BEFORE) for n in names):
            names = [n[len(_BEFORE) :] for n in names]
    return names


def _without(name: str) -> str:
    for part in _INSIDE:
        at = name.find(part)
        while at >= 0 and len(name) > len(part):
            if at and name[at - 1] != ".":
                break
            name = name[:at] + name[at + len(part) :]
            at = name.find(part)
    return name
