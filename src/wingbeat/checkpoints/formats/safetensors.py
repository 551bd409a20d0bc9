"""One safetensors file."""

from __future__ import annotations

from pathlib import Path

from wingbeat.checkpoints.formats.registry import checkpoint_format
from wingbeat.checkpoints.single_file import LONGEST_HEADER, read_safetensors
from wingbeat.checkpoints.source import Source


def fits(path: Path, head: bytes) -> bool:
    """Tell a safetensors file by the length of its header and the brace behind it."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and (length <= LONGEST_HEADER or path.suffix == ".safetensors")


@checkpoint_format("safetensors", fits=fits, caption="One safetensors file.", order=110)
def read(path: Path, _: str | None) -> Source:
    """Open the file; it holds nothing but tensors, so there is no key in it."""
    return read_safetensors(path)
