"""A folder of ``torch.distributed.checkpoint``."""

from __future__ import annotations

from pathlib import Path

from wingbeat.checkpoints.distributed import METADATA, read_distributed
from wingbeat.checkpoints.formats.registry import checkpoint_format
from wingbeat.checkpoints.source import Source


def fits(path: Path, _: bytes) -> bool:
    """Tell the file that describes the others: it has this name and no other."""
    return path.name == METADATA


def metadata_in(folder: Path) -> Path | None:
    """Return the file that describes the others."""
    return folder / METADATA if (folder / METADATA).is_file() else None


@checkpoint_format(
    "distributed",
    fits=fits,
    in_folder=metadata_in,
    caption="A folder of torch.distributed.checkpoint.",
    order=90,
)
def read(path: Path, key: str | None) -> Source:
    """Open the folder around the file."""
    return read_distributed(path.parent, key=key)
