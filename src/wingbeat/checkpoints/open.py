"""Open what lies at a path as a checkpoint: decided by content, never by suffix."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.checkpoints.distributed import METADATA, read_distributed
from wingbeat.checkpoints.names import few
from wingbeat.checkpoints.sharded import read_sharded
from wingbeat.checkpoints.single_file import LONGEST_HEADER, read_safetensors
from wingbeat.checkpoints.torch_file import read_torch
from wingbeat.errors import RequestError, StoreError

if TYPE_CHECKING:
    from wingbeat.checkpoints.source import Source

_INDICES = ("*.safetensors.index.json", "*.bin.index.json")
INDEX = "model.safetensors.index.json"
ALONE = ("model.safetensors", "pytorch_model.bin")
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
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
    target = located(Path(path))
    if target.name == METADATA:
        return _bare(read_distributed(target.parent, key=key))
    what = sniff(target)
    if what == "index":
        source: Source = read_sharded(target, _read_shard)
    elif what == "safetensors":
        source = read_safetensors(target)
    else:
        refuse_impostor(target)
        source = read_torch(target, archive=what == "zip", key=key)
    return _bare(source)


def _read_shard(path: Path) -> Source:
    refuse_impostor(path)
    what = sniff(path)
    if what == "index":
        raise StoreError(f"{path} is an index where a shard should be: download it again")
    return (
        read_safetensors(path) if what == "safetensors" else read_torch(path, archive=what == "zip")
    )


def located(path: Path) -> Path:
    """Return the file that stands for a path: itself, or the one of a folder.

    Raises:
        RequestError: there is none.
    """
    if not path.is_dir():
        return path
    if (path / METADATA).is_file():
        return path / METADATA
    if (path / INDEX).exists():
        return path / INDEX
    others = sorted(p for ending in _INDICES for p in path.glob(ending))
    alone = [path / name for name in ALONE if (path / name).exists()]
    # An adapter or a part of a diffusion pipeline: one file whose name tells what it is.
    found = others or alone or sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        names = few([p.name for p in found])
        what = (
            f"several checkpoints ({names})"
            if found
            else f"neither {INDEX} nor {' nor '.join(ALONE)}"
        )
        msg = f"the folder {path} holds {what}: name the file itself"
        raise RequestError(msg)
    return found[0]


def sniff(path: Path) -> str:
    """Return what a file is: "safetensors", "index", "zip" or "old" (torch before 1.6).

    Raises:
        RequestError: there is no such file, or it is none of these.
        StoreError: it is a plain pickle, or cannot be read.
    """
    regular, head = True, b""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
        if regular:
            with path.open("rb") as file:
                head = file.read(64)
    except FileNotFoundError as error:
        msg = f"there is no {path}: give the path of a checkpoint"
        raise RequestError(msg) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{path} cannot be read ({reason}): check the path and its links"
        raise StoreError(msg) from error
    if not regular:
        msg = f"{path} is no file: give a checkpoint"
        raise RequestError(msg)
    return _kind(path, head)


def _kind(path: Path, head: bytes) -> str:
    length = int.from_bytes(head[:8], "little")
    if head.startswith(b"version https://git-lfs"):
        msg = (
            f"{path} is the pointer of Git LFS to a file that was not fetched: run git lfs pull "
            "in its repository"
        )
        raise RequestError(msg)
    if head.startswith(b"PK"):
        return "zip"
    if head.startswith(_OLD_TORCH):
        return "old"
    if head[8:9] == b"{" and (length <= LONGEST_HEADER or path.suffix == ".safetensors"):
        return "safetensors"
    if len(head) > 1 and head[0] == 0x80 and head[1] <= 5:
        msg = f"{path} is a pickle, which can run code when it is opened: refused{_posing(path)}"
        raise StoreError(msg)
    if head.lstrip().startswith(b"{"):
        return "index"
    if path.suffix == ".safetensors":
        return "safetensors"  # its reader says what is wrong with it
    msg = f"{path} is no checkpoint: neither safetensors, nor an index of it, nor a PyTorch file"
    raise RequestError(msg)


def refuse_impostor(path: Path) -> None:
    """Refuse a file that is named safetensors and holds a pickle.

    Raises:
        StoreError: it does.
        RequestError: as for `sniff`.
    """
    what = sniff(path)
    if path.suffix == ".safetensors" and what in ("zip", "old"):
        msg = f"{path} holds a PyTorch pickle: refused{_posing(path)}"
        raise StoreError(msg)


def _posing(path: Path) -> str:
    if path.suffix != ".safetensors":
        return ". Save the weights as safetensors"
    return ", all the more since it is named safetensors. Get it again from a source you trust"


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
