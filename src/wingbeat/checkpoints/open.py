"""Open what lies at a path as a checkpoint: decided by content, never by suffix."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.checkpoints.sharded import read_sharded
from wingbeat.checkpoints.single_file import LONGEST_HEADER, read_safetensors
from wingbeat.checkpoints.torch_file import read_torch
from wingbeat.errors import RequestError, StoreError

if TYPE_CHECKING:
    from wingbeat.checkpoints.source import Source

INDEX = "model.safetensors.index.json"
ALONE = ("model.safetensors", "pytorch_model.bin")
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_PREFIXES = ("_orig_mod.", "module.")


def open_checkpoint(path: str | Path, *, key: str | None = None) -> Source:
    """Open a checkpoint of any format; reads names and shapes, no numbers.

    Args:
        path: a safetensors file, an index of a sharded one, a ``.pt`` file, or a folder that
            holds ``model.safetensors.index.json`` or ``model.safetensors``.
        key: where the tensors are inside a ``.pt`` file that holds more than a state dict.

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
    what = sniff(target)
    if what == "index":
        source: Source = read_sharded(target, refuse_impostor)
    elif what == "safetensors":
        source = read_safetensors(target)
    else:
        refuse_impostor(target)
        source = read_torch(target, archive=what == "zip", key=key)
    return _bare(source)


def located(path: Path) -> Path:
    """Return the file that stands for a path: itself, or the one of a folder.

    Raises:
        RequestError: there is none.
    """
    if not path.is_dir():
        return path
    if (path / INDEX).exists():
        return path / INDEX
    others = sorted(path.glob("*.safetensors.index.json"))
    found = others or [path / name for name in ALONE if (path / name).exists()]
    if len(found) != 1:
        what = "several indices" if found else f"neither {INDEX} nor {' nor '.join(ALONE)}"
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
    """Take a prefix off that all names share, as data parallelism and compilation put it."""
    for prefix in _PREFIXES:
        names = [*source.entries, *source.tied]
        if names and all(n.startswith(prefix) and len(n) > len(prefix) for n in names):
            cut = len(prefix)
            entries = {n[cut:]: replace(e, name=n[cut:]) for n, e in source.entries.items()}
            tied = {n[cut:]: kept[cut:] for n, kept in source.tied.items()}
            source = replace(source, entries=entries, tied=tied)  # type: ignore[type-var]
    return source
