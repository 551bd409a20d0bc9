"""Tensor files that are whole or absent, and that notice when they were altered.

The format is safetensors, readable without wingbeat. The header's metadata holds what the
tensors mean and a digest over names, shapes, types, bytes and that metadata. A file is
written beside its place, flushed to the disk and renamed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from wingbeat.errors import StoreError
from wingbeat.files import strict_json, unreadable, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

HEADER = "wingbeat"
"""The one key of the file's metadata: with more, their order on disk would vary."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and their JSON-safe description as one file, all or nothing.

    Raises:
        StoreError: the disk is full or the folder cannot be written; nothing was changed.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    text = strict_json(meta, indent=None, sort_keys=True)
    header = f"{digest(tensors, text)} {text}"
    write_bytes(path, save(tensors, {HEADER: header}))


def read_tensors(path: Path, *, check: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that ``write_tensors`` made: fresh tensors by name, and the description.

    Raises:
        StoreError: it is missing, cut short or altered; the message names the file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER, "")
            mapped = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    written, _, text = header.partition(" ")
    if not text or (check and not (_plainly_padded(path) and written == digest(mapped, text))):
        msg = f"{path} was altered after it was written (its digest does not fit). {_advice(path)}"
        raise StoreError(msg)
    # Cloned: a tensor in mapped memory has an alignment of its own, which may choose another
    # kernel and hence other bits.
    return {name: tensor.clone() for name, tensor in mapped.items()}, json.loads(text)


def written_digest(path: Path) -> str:
    """Return the digest that a file says it has; reads the header only.

    Raises:
        StoreError: the file is missing or damaged; the message names it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get(HEADER, "")).partition(" ")[0]
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_one(path: Path, name: str) -> Tensor:
    """Read one tensor of a file whose digest was checked before.

    Raises:
        StoreError: the file is missing or damaged; the message names it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Return a SHA-256 over names, types, shapes, bytes and a text."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(memoryview(_bytes(tensor)))
    return total.hexdigest()


def _plainly_padded(path: Path) -> bool:
    """Tell whether only spaces follow the header: the one place that no reader looks at."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return file.read(size).rstrip(b" ").endswith(b"}")


def _bytes(tensor: Tensor) -> Any:
    return tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b""


def _unreadable(path: Path, error: Exception) -> StoreError:
    # What safetensors raises does not always tell a forbidden file from a damaged one.
    try:
        with path.open("rb"):
            return unreadable(path, error, _advice(path))
    except OSError as reason:
        return unreadable(path, reason, _advice(path))


def _advice(path: Path) -> str:
    return f"Restore {path.name} from a copy, or delete its run folder and compute it again."
