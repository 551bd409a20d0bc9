"""Text as token numbers: a local folder's own tokenizer, or bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from wingbeat.errors import RequestError
from wingbeat.tasks.models.pretrained import transformers

_FILES: Final = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")


class Tokenizer(Protocol):
    """Turns text into numbers."""

    @property
    def size(self) -> int:
        """How many numbers there are; all are below it."""
        ...

    @property
    def pad(self) -> int:
        """Number that fills up; what stands there is hidden by the mask."""
        ...

    @property
    def end(self) -> int:
        """Number after the end of a text."""
        ...

    def whole(self, texts: Sequence[str]) -> list[list[int]]:
        """Return texts with the marks that a classifier expects around each."""
        ...

    def part(self, texts: Sequence[str]) -> list[list[int]]:
        """Return pieces of text without any marks."""
        ...


@dataclass(frozen=True)
class ByteTokenizer:
    """UTF-8 bytes from 2 on, after padding (0) and the end (1); needs no file.

    Example:
        >>> ByteTokenizer().whole(["ab", "c"])
        [[99, 100, 1], [101, 1]]
        >>> ByteTokenizer().text([99, 100, 1, 0])
        'ab'
    """

    size: int = 258
    pad: int = 0
    end: int = 1

    def whole(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the bytes of each text and the end."""
        return [[*row, self.end] for row in self.part(texts)]

    def part(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the bytes of each text."""
        return [[byte + 2 for byte in text.encode("utf-8")] for text in texts]

    def text(self, numbers: Sequence[int]) -> str:
        """Return the text again; padding and end are left out, broken characters replaced."""
        return bytes(n - 2 for n in numbers if n >= 2).decode("utf-8", errors="replace")


@dataclass(frozen=True)
class FolderTokenizer:
    """The tokenizer that lies in a folder of Hugging Face's format.

    Attributes:
        inner: the tokenizer of the package transformers.
    """

    inner: Any

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self.inner)

    @property
    def end(self) -> int:
        """Number of the end mark, of the separator where there is none."""
        own = (self.inner.eos_token_id, self.inner.sep_token_id, self.inner.pad_token_id)
        return next((int(n) for n in own if n is not None), 0)

    @property
    def pad(self) -> int:
        """Number of the padding, of the end mark where there is none."""
        own = self.inner.pad_token_id
        return self.end if own is None else int(own)

    def whole(self, texts: Sequence[str]) -> list[list[int]]:
        """Return texts with the tokenizer's marks around each."""
        return list(self.inner(list(texts), verbose=False)["input_ids"])

    def part(self, texts: Sequence[str]) -> list[list[int]]:
        """Return pieces of text without marks."""
        found = self.inner(list(texts), add_special_tokens=False, verbose=False)
        return list(found["input_ids"])


def tokenizer_of(folder: Path, size: int) -> Tokenizer:
    """Return a folder's tokenizer; bytes where it has none.

    Args:
        folder: with the tokenizer's files, or without any.
        size: rows of the model's input embedding.

    Raises:
        RequestError: the tokenizer cannot be read, or has more numbers than the model has rows.
    """
    found: Tokenizer = ByteTokenizer()
    if any((folder / file).is_file() for file in _FILES):
        try:
            found = FolderTokenizer(
                transformers().AutoTokenizer.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False
                )
            )
        except (OSError, ValueError, KeyError) as error:
            msg = f"the tokenizer in {folder} cannot be read: {error}"
            raise RequestError(msg) from error
    if found.size > size:
        raise RequestError(
            f"the tokenizer of {folder} has {found.size} numbers and the model {size} rows: give "
            "the tokenizer's files that belong to the model"
        )
    return found


def padded(rows: Sequence[Sequence[int]], length: int, pad: int) -> tuple[Tensor, Tensor]:
    """Return rows of one length and which of their places are filled, both (n, length) int64.

    Longer rows are cut in front of their last number, which is kept: it marks the end.

    Raises:
        RequestError: ``length`` is below 2, or a row is empty.

    Example:
        >>> ids, mask = padded([[5, 6], [5, 6, 7, 9]], 3, pad=0)
        >>> ids.tolist(), mask.tolist()
        ([[5, 6, 0], [5, 6, 9]], [[1, 1, 0], [1, 1, 1]])
    """
    if length < 2:
        raise RequestError(f"length is {length!r}: use at least 2 tokens")
    ids = torch.full((len(rows), length), pad, dtype=torch.int64)
    mask = torch.zeros(len(rows), length, dtype=torch.int64)
    for place, row in enumerate(rows):
        if not row:
            raise RequestError(f"text {place} gives no token: leave empty texts out")
        kept = list(row) if len(row) <= length else [*row[: length - 1], row[-1]]
        ids[place, : len(kept)] = torch.tensor(kept)
        mask[place, : len(kept)] = 1
    return ids, mask
