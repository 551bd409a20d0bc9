"""Architectures as people write them, and the layers of torch itself."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.architectures import dense, images, sequences
from benchmarks.architectures.case import Case


def cases() -> Iterator[Case]:
    """Yield all of them."""
    for table in (dense.TABLE, sequences.TABLE, images.TABLE):
        for name, (build, inputs) in table.items():
            yield Case(f"by hand/{name}", build, inputs)
