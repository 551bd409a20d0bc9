"""Characters of tinyshakespeare in windows, and a small causal transformer that predicts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError, StoreError
from wingbeat.zoo.sources import Source, fetched, find_folder, words_digest
from wingbeat.zoo.text import Corpus, grammar
from wingbeat.zoo.transformer import HEAD_WIDTH, Block

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

    source: Source
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


class CharacterGPT(nn.Module):
    """A causal transformer that scores the next character at every place.

    Args:
        alphabet: number of characters.
        width: of the tokens.
        layers: how many blocks.
        length: longest window.
        heads: of the attention; 0 takes as many of width 32 as fit.

    Source:
        Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).

    Example:
        >>> CharacterGPT(65, 32, 1, 16)(torch.zeros(2, 16, dtype=torch.long)).shape
        torch.Size([2, 16, 65])
    """

    def __init__(
        self, alphabet: int, width: int = 64, layers: int = 2, length: int = 64, heads: int = 0
    ) -> None:
        super().__init__()
        heads = heads or max(1, width // (HEAD_WIDTH // 2))
        if width % heads:
            raise RequestError(f"heads is {heads!r}: use a divisor of the width {width}")
        self.characters = nn.Embedding(alphabet, width)
        self.positions = nn.Parameter(torch.empty(length, width))
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, alphabet)
        for tensor in self.parameters():
            if tensor.dim() > 1:
                nn.init.normal_(tensor, std=0.02)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return scores ``(batch, length, alphabet)`` of characters ``(batch, length)`` int64."""
        length = numbers.shape[1]
        x = self.characters(numbers) + self.positions[:length]
        place = torch.arange(length, device=numbers.device)
        visible = (place[:, None] >= place).expand(len(numbers), -1, -1)
        for block in self.blocks:
            x = block(x, visible)
        scores: Tensor = self.head(self.norm(x))
        return scores


def _shakespeare(folder: Path) -> tuple[Source, str]:
    path = folder / "input.txt"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): fetch it again") from error
    label = f"tinyshakespeare ({len(text):,} characters)"
    return Source("tinyshakespeare", label, False, words_digest(Corpus((text,), (0,)))), text


def _grammar() -> tuple[Source, str]:
    made = grammar(6000, seed=0)
    text = "\n".join(made.texts)
    label = f"stand-in for plays: sentences of a seeded grammar ({len(text):,} characters)"
    return Source("grammar-characters", label, True, words_digest(made)), text


def _download(folder: Path) -> bool:
    return fetched(ADDRESS, HASH, folder) is not None
