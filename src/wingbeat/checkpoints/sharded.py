"""Shards with an index, the layout of Hugging Face; safetensors or ``.bin``.

``model.safetensors.index.json`` holds ``{"metadata": …, "weight_map": {name: file}}``; the files
lie beside it.
Source: https://huggingface.co/docs/transformers (big models, sharded checkpoints).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wingbeat.checkpoints.single_file import natural_order, once
from wingbeat.errors import RequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wingbeat.checkpoints.source import Entry, Source

LARGEST_INDEX = 100_000_000
"""Bytes of an index."""


@dataclass(frozen=True)
class Sharded:
    """An opened sharded checkpoint; a `Source`."""

    path: Path
    entries: Mapping[str, Entry]
    tied: Mapping[str, str]
    shards: tuple[Source, ...]
    format: str = "sharded safetensors"
    notes: tuple[str, ...] = ()

    def check(self, tick: Callable[[int], None]) -> bool:
        """Check every shard that has a digest."""
        found = [shard.check(tick) for shard in self.shards]
        return any(found)


def read_sharded(index: Path, read: Callable[[Path], Source]) -> Sharded:
    """Open a sharded checkpoint by its index file.

    Args:
        index: the JSON file.
        read: opens a shard, and refuses one that is not what its name says.

    Raises:
        RequestError: it is of another framework.
        StoreError: the index is damaged, names files outside its folder, or a shard is missing,
            damaged or lacks a tensor.
    """
    places = _weight_map(index)
    names = sorted(set(places.values()), key=natural_order)
    for name in names:
        _refuse_traversal(index, name)
    shards: dict[str, Source] = {}
    for name in names:
        path = index.parent / name
        if not path.is_file():
            raise _wrong(index, f"it names the shard {name!r}, which is not beside it")
        shards[name] = read(path)
    entries = {}
    for tensor in sorted(places, key=natural_order):
        shard = shards[places[tensor]]
        held = shard.entries
        if tensor in shard.tied:
            continue
        if tensor not in held:
            raise _wrong(index, f"it places {tensor!r} in {places[tensor]!r}, which lacks it")
        entries[tensor] = held[tensor]
    aliases = {a: k for shard in shards.values() for a, k in shard.tied.items()}
    tied = {a: k for a, k in aliases.items() if a not in entries and k in entries}
    formats = dict.fromkeys(shard.format for shard in shards.values())
    kind = f"sharded {' and '.join(formats)}"
    return Sharded(index, entries, tied, tuple(shards.values()), kind)


def _weight_map(index: Path) -> dict[str, str]:
    size = index.stat().st_size
    if size > LARGEST_INDEX:
        raise _wrong(index, f"it has {size:,} bytes; {LARGEST_INDEX:,} are allowed")
    try:
        content: Any = json.loads(index.read_bytes().decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _wrong(index, f"it is no JSON: {error}") from error
    except OSError as error:
        raise _wrong(index, f"it cannot be read ({error.strerror})") from error
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise _wrong(index, 'it has no "weight_map"')
    for tensor, name in places.items():
        if str(name).rstrip("]'").endswith(".h5"):
            raise RequestError(
                f"{index} is the index of a Keras model in several files: load it there, and save "
                "its arrays by name with safetensors.numpy.save_file"
            )
        if not isinstance(name, str):
            raise _wrong(index, f"it places {tensor!r} in {name!r}, which is no file name")
    return places


def _refuse_traversal(index: Path, name: str) -> None:
    """Refuse a shard name that is more than the plain name of a file in the index's folder."""
    plain = name not in ("", ".", "..") and not set(name) & set('/\\:\0"*?<>|')
    if not plain or not name.isprintable():
        raise _wrong(index, f"it names the shard {name!r}: only files beside the index are read")


def _wrong(index: Path, what: str) -> StoreError:
    return StoreError(f"{index} is no sound index: {what}. Copy or download the checkpoint again")
