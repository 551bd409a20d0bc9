"""A file of ``torch.save``, its code left asleep."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from wingbeat.checkpoints.formats.registry import checkpoint_format, head_of, posing
from wingbeat.checkpoints.source import Source
from wingbeat.checkpoints.torch_file import read_torch
from wingbeat.errors import StoreError

_ARCHIVE: Final = b"PK"
_BEFORE_1_6: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def fits(_: Path, head: bytes) -> bool:
    """Tell a zip archive, or the magic number of torch before 1.6."""
    return head.startswith((_ARCHIVE, _BEFORE_1_6))


@checkpoint_format("pytorch", fits=fits, caption="A file of torch.save.", order=100)
def read(path: Path, key: str | None) -> Source:
    """Open the file.

    Raises:
        StoreError: it is named safetensors.
    """
    if path.suffix == ".safetensors":
        raise StoreError(f"{path} holds a PyTorch pickle: refused{posing(path)}")
    return read_torch(path, archive=head_of(path).startswith(_ARCHIVE), key=key)
