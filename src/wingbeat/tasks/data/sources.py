"""Where the data of a study come from: a folder, the cache, a download, or a stand-in.

Looked for in this order: the folder that ``WINGBEAT_DATA`` names, the download cache
(``WINGBEAT_CACHE``, else ``wingbeat`` in the user's cache folder), a download with a checked
hash where the package pooch is installed and there is a network (never when
``WINGBEAT_OFFLINE`` is set), and last a stand-in. A stand-in has a name of its own and is
never called by the name of what it stands for.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from wingbeat.cache import cache_folder
from wingbeat.errors import StoreError
from wingbeat.files import write_bytes
from wingbeat.tasks.data.sklearn import Labelled, digits
from wingbeat.tasks.data.text import Corpus, grammar

_MNIST_HASHES: Final = (
    ("train-images-idx3", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
MNIST_FILES: Final = {f"{stem}-ubyte.gz": digest for stem, digest in _MNIST_HASHES}
"""The four files of the official release with their SHA-256."""
MNIST_ADDRESS: Final = "https://storage.googleapis.com/cvdf-datasets/mnist/"
SST2_ADDRESS: Final = "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip"
SST2_HASH: Final = "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"
DOWNLOAD_SECONDS: Final = 20
"""A connection that is silent for so long counts as no network."""
_MNIST_FOLDERS = ("mnist", "MNIST", "MNIST/raw", "mnist-10k")
_SST2_FOLDERS = ("SST-2", "glue_data/SST-2")


@dataclass(frozen=True)
class DataSource:
    """What a data set is, for tables and captions.

    Attributes:
        name: short and stable, part of a condition: "mnist", "digits-enlarged", "sst2", "grammar".
        label: words for a caption, with the number of samples.
        stand_in: whether it stands in for another data set.
        digest: of the samples, so that other files under the same name are noticed.
    """

    name: str
    label: str
    stand_in: bool
    digest: str


@dataclass(frozen=True)
class Images:
    """Images ``(n, channels, side, side)`` float32 with labels ``(n,)`` int64, in two splits."""

    source: DataSource
    train: Labelled
    test: Labelled


@dataclass(frozen=True)
class Reviews:
    """Sentences with labels 0 (negative) and 1 (positive), in two splits."""

    source: DataSource
    train: Corpus
    test: Corpus


def images() -> Images:
    """Return MNIST where it can be found, else scikit-learn's digits enlarged to 28x28.

    Raises:
        StoreError: a file of the data set is damaged; the message names it.

    Source:
        LeCun, Cortes and Burges, "The MNIST database of handwritten digits" (IDX format).

    Example:
        >>> tuple(images().train[0].shape[1:])
        (1, 28, 28)
    """
    folder = find_folder("mnist", _MNIST_FOLDERS, tuple(MNIST_FILES), _download_mnist)
    return _enlarged_digits() if folder is None else _mnist(folder)


def reviews() -> Reviews:
    """Return SST-2 where it can be found, else sentences of a small grammar.

    Raises:
        StoreError: a file of the data set is damaged; the message names it.

    Source:
        Socher et al., "Recursive Deep Models for Semantic Compositionality" (2013); Wang et al.,
        "GLUE" (2018), for the file format.

    Example:
        >>> sorted(set(reviews().train.labels))
        [0, 1]
    """
    folder = find_folder("SST-2", _SST2_FOLDERS, ("train.tsv", "dev.tsv"), _download_sst2)
    return _grammar() if folder is None else _sst2(folder)


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes.

    Raises:
        StoreError: it is missing, cut short, or of another type.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise StoreError(f"{path} cannot be read ({error}): fetch it again") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise StoreError(f"{path} is no IDX file of unsigned bytes: fetch it again")
    axes = content[3]
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, 4))
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if data.size != int(np.prod(shape)):
        raise StoreError(f"{path} announces {shape} and holds {data.size} bytes: fetch it again")
    return data.reshape(shape)


def read_sentences(path: Path) -> Corpus:
    r"""Read a file of GLUE's SST-2: a header, then ``sentence<TAB>label`` in each line.

    Raises:
        StoreError: it is missing, not UTF-8, or a line has another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): fetch it again") from error
    texts, labels = [], []
    for place, line in enumerate(lines[1:], start=2):
        sentence, tab, label = line.rpartition("\t")
        if not tab or label.strip() not in ("0", "1"):
            raise StoreError(f"{path}, line {place}: expected sentence, tab, 0 or 1, not {line!r}")
        texts.append(sentence.strip())
        labels.append(int(label))
    return Corpus(tuple(texts), tuple(labels))


def find_folder(
    name: str, inner: tuple[str, ...], files: tuple[str, ...], download: Callable[[Path], bool]
) -> Path | None:
    """Return the first folder that holds all files, after a download if need be."""
    roots = [Path(p) for p in (os.environ.get("WINGBEAT_DATA"),) if p]
    for root in (*roots, cache_folder()):
        for place in (*(root / part for part in inner), root):
            if all((place / file).is_file() for file in files):
                return place
    target = cache_folder() / name
    return target if not os.environ.get("WINGBEAT_OFFLINE") and download(target) else None


def _download_mnist(folder: Path) -> bool:
    return all(
        fetched(MNIST_ADDRESS + file, digest, folder) is not None
        for file, digest in MNIST_FILES.items()
    )


def _download_sst2(folder: Path) -> bool:
    found = fetched(SST2_ADDRESS, SST2_HASH, folder)
    if found is None:
        return False
    with zipfile.ZipFile(found) as archive:
        for file in ("train.tsv", "dev.tsv"):
            write_bytes(folder / file, archive.read(f"SST-2/{file}"))
    return True


@lru_cache(maxsize=16)  # one attempt a process: a missing network stays missing
def fetched(address: str, digest: str, folder: Path) -> Path | None:
    """Return the downloaded file, or None without pooch or without a network.

    Raises:
        StoreError: what came has another hash.
    """
    try:
        import pooch
    except ImportError:
        return None
    pooch.get_logger().setLevel("WARNING")  # what stands in for the data, the task's name says
    loader = pooch.HTTPDownloader(timeout=DOWNLOAD_SECONDS, progressbar=False)
    try:
        name = address.rsplit("/", 1)[1]
        return Path(
            pooch.retrieve(address, f"sha256:{digest}", fname=name, path=folder, downloader=loader)
        )
    except OSError:  # requests' errors are OSErrors: no network, no such host, time is up
        return None
    except ValueError as error:
        raise StoreError(f"{address} has another hash than expected: {error}") from error


def _mnist(folder: Path) -> Images:
    parts = []
    for stem in ("train", "t10k"):
        pixels = read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
        if len(pixels) != len(labels) or pixels.shape[1:] != (28, 28):
            raise StoreError(f"{folder} holds {pixels.shape} images and {len(labels)} labels")
        inputs = torch.from_numpy(pixels.astype(np.float32) / 255.0).unsqueeze(1)
        parts.append((inputs, torch.from_numpy(labels.astype(np.int64))))
    train, test = parts
    whole = (len(train[0]), len(test[0])) == (60_000, 10_000)
    size = f"{len(train[0]):,} / {len(test[0]):,} images"
    label = f"MNIST ({size})" if whole else f"MNIST, subset with a split of its own ({size})"
    return Images(DataSource("mnist", label, False, digest_of(*train, *test)), train, test)


def _enlarged_digits() -> Images:
    train, test = ((_enlarged(x), y) for x, y in digits())
    label = (
        "stand-in for handwritten digits: scikit-learn's 8x8 digits enlarged to 28x28 "
        f"({len(train[0]):,} / {len(test[0]):,} images)"
    )
    return Images(DataSource("digits-enlarged", label, True, digest_of(*train, *test)), train, test)


def _enlarged(images: Tensor) -> Tensor:
    """Repeat each pixel three times in both directions and add two empty rows all around."""
    large = images.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    return torch.nn.functional.pad(large, (2, 2, 2, 2))


def _sst2(folder: Path) -> Reviews:
    train, test = read_sentences(folder / "train.tsv"), read_sentences(folder / "dev.tsv")
    kind = "phrases and sentences" if len(train.texts) > 60_000 else "whole sentences"
    label = f"SST-2, {kind} ({len(train.texts):,} train / {len(test.texts):,} dev)"
    digest = words_digest(train, test)
    return Reviews(DataSource("sst2", label, False, digest), train, test)


def _grammar() -> Reviews:
    train, test = grammar(6000, seed=0), grammar(800, seed=1)
    label = (
        "stand-in for film reviews: sentences of a seeded grammar with negation "
        f"({len(train.texts):,} train / {len(test.texts):,} test)"
    )
    return Reviews(DataSource("grammar", label, True, words_digest(train, test)), train, test)


def digest_of(*tensors: Tensor) -> str:
    """Return a digest of samples, so that other data under the same name are noticed."""
    found = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def words_digest(*parts: Corpus) -> str:
    """Return a digest of labelled texts."""
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update("\n".join(part.texts).encode())
        found.update(bytes(part.labels))
    return found.hexdigest()
