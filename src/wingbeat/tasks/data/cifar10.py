"""CIFAR-10 in the official binary format, or a labelled stand-in."""

from __future__ import annotations

import tarfile
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch

from wingbeat.errors import StoreError
from wingbeat.files import write_bytes
from wingbeat.tasks.data.sklearn import Labelled, digits
from wingbeat.tasks.data.sources import DataSource, Images, digest_of, fetched, find_folder

ADDRESS: Final = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
HASH: Final = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
"""SHA-256 of the official archive."""
RECORD: Final = 1 + 3 * 32 * 32
"""Bytes of one image: the label, then red, green and blue, row by row."""
TRAIN_FILES: Final = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILE: Final = "test_batch.bin"


def photos() -> Images:
    """Return CIFAR-10 where it can be found, else coloured and enlarged digits of scikit-learn.

    Each colour channel is shifted and scaled to mean 0 and standard deviation 1 over the
    training images.

    Raises:
        StoreError: a file is damaged; the message names it.

    Source:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009); the binary
        version as described on the page of the data set.

    Example:
        >>> tuple(photos().test[0].shape[1:])
        (3, 32, 32)
    """
    inner = ("cifar-10-batches-bin", "cifar-10")
    folder = find_folder("cifar-10-batches-bin", inner, (TRAIN_FILES[0], TEST_FILE), _download)
    return _coloured_digits() if folder is None else _cifar(folder)


def read_records(path: Path) -> Labelled:
    """Read a file of the binary version: images ``(n, 3, 32, 32)`` in [0, 1] and labels.

    Raises:
        StoreError: it is missing, cut short, or holds a label above 9.
    """
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error}): fetch it again") from error
    if content.size == 0 or content.size % RECORD:
        msg = f"{path} has {content.size} bytes, no multiple of {RECORD}: fetch it again"
        raise StoreError(msg)
    records = content.reshape(-1, RECORD)
    labels = torch.from_numpy(records[:, 0].astype(np.int64))
    if int(labels.max()) > 9:
        msg = f"{path} holds a label {int(labels.max())}, not 0 to 9: fetch it again"
        raise StoreError(msg)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255.0
    return torch.from_numpy(pixels), labels


@lru_cache(maxsize=1)
def _cifar(folder: Path) -> Images:
    parts = [read_records(folder / f) for f in TRAIN_FILES if (folder / f).is_file()]
    train = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    test = read_records(folder / TEST_FILE)
    size = f"{len(train[0]):,} / {len(test[0]):,} images"
    whole = (len(train[0]), len(test[0])) == (50_000, 10_000)
    label = f"CIFAR-10 ({size})" if whole else f"CIFAR-10, subset ({size})"
    return Images(
        DataSource("cifar10", label, False, digest_of(*train, *test)), *_scaled(train, test)
    )


@lru_cache(maxsize=1)
def _coloured_digits() -> Images:
    train, test = ((_coloured(x), y) for x, y in digits())
    size = f"{len(train[0]):,} / {len(test[0]):,} images"
    label = f"stand-in for photographs: scikit-learn's 8x8 digits enlarged to 32x32 ({size})"
    source = DataSource("digits-coloured", label, True, digest_of(*train, *test))
    return Images(source, *_scaled(train, test))


def _coloured(images: torch.Tensor) -> torch.Tensor:
    """Repeat each pixel four times in both directions, in three strengths of colour."""
    large = images.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    return torch.cat([large, 0.7 * large, 0.4 * large], dim=1)


def _scaled(train: Labelled, test: Labelled) -> tuple[Labelled, Labelled]:
    values = train[0].double()
    mean = values.mean(dim=(0, 2, 3), keepdim=True)
    std = values.std(dim=(0, 2, 3), keepdim=True)
    return (
        (((train[0] - mean) / std).float(), train[1]),
        (((test[0] - mean) / std).float(), test[1]),
    )


def _download(folder: Path) -> bool:
    found = fetched(ADDRESS, HASH, folder)
    if found is None:
        return False
    with tarfile.open(found) as archive:
        for name in (*TRAIN_FILES, TEST_FILE):
            member = archive.extractfile(f"cifar-10-batches-bin/{name}")
            if member is None:
                raise StoreError(f"{found} holds no file {name}: fetch it again")
            write_bytes(folder / name, member.read())
    return True
