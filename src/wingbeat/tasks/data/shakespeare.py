"""Characters of tinyshakespeare in windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from wingbeat.errors import RequestError, StoreError
from wingbeat.tasks.data.sources import DataSource, fetched, find_folder, words_digest
from wingbeat.tasks.data.text import Corpus, grammar

ADDRESS: Final = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
HASH: Final = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
"""SHA-256 of the file with 1,115,394 characters."""
TRAIN_SHARE: Final = 0.9


@dataclass(frozen=True)
class Characters:
    """A text as numbers.

    Attributes:
        source: what it is.
        alphabet: the characters, sorted; the number of a character is its place.
        train, test: windows and the same windows one character later, each ``(n, length)`` int64.
    """

    source: DataSource
    alphabet: str
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def characters(length: int = 64) -> Characters:
    """Return tinyshakespeare where it can be found, else sentences of a small grammar.

    The first nine tenths of the text are for training; windows do not overlap.

    Args:
        length: characters of a window.

    Raises:
        RequestError: the test text is shorter than one window.
        StoreError: the file is damaged.

    Example:
        >>> found = characters(32)
        >>> bool((found.train[0][:, 1:] == found.train[1][:, :-1]).all())
        True
    """
    folder = find_folder("tinyshakespeare", ("tinyshakespeare",), ("input.txt",), _download)
    source, text = _grammar() if folder is None else _shakespeare(folder)
    alphabet = "".join(sorted(set(text)))
    place = {c: i for i, c in enumerate(alphabet)}
    numbers = torch.tensor([place[c] for c in text])
    cut = int(TRAIN_SHARE * len(numbers))
    return Characters(
        source, alphabet, windows(numbers[:cut], length), windows(numbers[cut:], length)
    )


def windows(numbers: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Cut a row of numbers into windows and the same windows one place later.

    Raises:
        RequestError: fewer numbers than one window and the one after it need.

    Example:
        >>> [t.tolist() for t in windows(torch.arange(7), 3)]
        [[[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]]]
    """
    count = (len(numbers) - 1) // length if length > 0 else 0
    if count < 1:
        raise RequestError(f"length is {length!r}: use 1 to {len(numbers) - 1}")
    end = count * length
    return numbers[:end].reshape(count, length), numbers[1 : end + 1].reshape(count, length)


def _shakespeare(folder: Path) -> tuple[DataSource, str]:
    path = folder / "input.txt"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): fetch it again") from error
    label = f"tinyshakespeare ({len(text):,} characters)"
    return DataSource("tinyshakespeare", label, False, words_digest(Corpus((text,), (0,)))), text


def _grammar() -> tuple[DataSource, str]:
    made = grammar(6000, seed=0)
    text = "\n".join(made.texts)
    label = f"stand-in for plays: sentences of a seeded grammar ({len(text):,} characters)"
    return DataSource("grammar-characters", label, True, words_digest(made)), text


def _download(folder: Path) -> bool:
    return fetched(ADDRESS, HASH, folder) is not None
