"""An index beside the files that it names, the layout of Hugging Face."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from wingbeat.checkpoints.formats.registry import checkpoint_format, format_of
from wingbeat.checkpoints.sharded import read_sharded
from wingbeat.checkpoints.source import Source
from wingbeat.errors import StoreError

INDEX: Final = "model.safetensors.index.json"
"""The usual name of an index."""
_NAME: Final = "sharded"


def fits(_: Path, head: bytes) -> bool:
    """Tell a JSON object."""
    return head.lstrip().startswith(b"{")


def index_in(folder: Path) -> Path | None:
    """Return the index of the usual name."""
    return folder / INDEX if (folder / INDEX).exists() else None


@checkpoint_format(
    _NAME, fits=fits, in_folder=index_in, caption="An index and its shards.", order=120
)
def read(path: Path, _: str | None) -> Source:
    """Open an index and every shard that it names."""
    return read_sharded(path, _shard)


def _shard(path: Path) -> Source:
    found = format_of(path)
    if found.name == _NAME:
        raise StoreError(f"{path} is an index where a shard should be: download it again")
    return found.function(path, None)
