"""Small transformers that classify sentences: bidirectional as BERT, causal as GPT.

Attention is written out with matrix products and a softmax, so that replicas run in lock
step and derivatives of every order exist. There is no dropout: nothing but the weights and
the batch decides the output.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError
from wingbeat.tasks.data.text import LENGTH, PAD, VOCABULARY

Kind = Literal["gpt", "bert"]
HEAD_WIDTH: Final = 64
"""Width of one attention head: as many heads as fit."""
_STD: Final = 0.02


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        width: of the tokens, a multiple of ``heads``.
        heads: how many.

    Source:
        Vaswani et al., "Attention Is All You Need" (2017), section 3.2.

    Example:
        >>> Attention(8, 2)(torch.zeros(3, 5, 8), torch.ones(3, 5, 5, dtype=torch.bool)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Return the mixed tokens.

        Args:
            x: tokens ``(batch, length, width)``.
            visible: ``(batch, length, length)`` bool, [b, i, j] whether i may look at j; every
                row has at least one true entry.
        """
        batch, length, width = x.shape
        parts = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
        scores = scores.masked_fill(~visible[:, None], float("-inf"))
        mixed = torch.softmax(scores, dim=-1) @ value
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return joined


class Block(nn.Module):
    """One layer: attention and a dense net of four times the width, each after its norm.

    Args:
        width: of the tokens.
        heads: of the attention.

    Example:
        >>> sum(p.numel() for p in Block(128, 2).parameters())
        198272
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.dense = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Return the tokens ``(batch, length, width)`` after this layer."""
        x = x + self.attention(self.norm1(x), visible)
        out: Tensor = x + self.dense(self.norm2(x))
        return out


class Transformer(nn.Module):
    """A classifier of sentences.

    ``gpt`` looks back only and reads its answer at the last word. ``bert`` looks both ways,
    adds a segment embedding (all words are of segment 0) and reads its answer at the first
    position, through a tanh pooler. Everything else is the same in both, so that a comparison
    of the two compares these three things: learned positions, norms before each part and at
    the end, GELU, biases everywhere.

    Args:
        kind: "gpt" or "bert".
        width: of the tokens.
        layers: how many blocks.
        vocabulary: number of words, the padding (0) included.
        length: longest sentence.
        classes: number of scores.

    Raises:
        RequestError: an unknown kind, or a width or number of layers that does not fit.

    Source:
        Radford et al., "Language Models are Unsupervised Multitask Learners" (2019) for the
        order of norms; Devlin et al., "BERT" (2019) for segments and pooler.

    Example:
        >>> sum(p.numel() for p in Transformer("gpt", 128, 2).parameters())
        780034
        >>> sum(p.numel() for p in Transformer("bert", 128, 2).parameters())
        796802
    """

    def __init__(
        self,
        kind: Kind,
        width: int,
        layers: int,
        vocabulary: int = VOCABULARY,
        length: int = LENGTH,
        classes: int = 2,
    ) -> None:
        super().__init__()
        _check(kind, width, layers)
        heads = max(1, width // HEAD_WIDTH)
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(length, width))
        self.segments = nn.Parameter(torch.empty(2, width)) if kind == "bert" else None
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.pooler = nn.Linear(width, width) if kind == "bert" else None
        self.head = nn.Linear(width, classes)
        self._initialise()

    def _initialise(self) -> None:
        for name, tensor in self.named_parameters():
            if tensor.dim() > 1:
                nn.init.normal_(tensor, std=_STD)
            elif name.endswith("bias"):
                nn.init.zeros_(tensor)

    def forward(self, words: Tensor) -> Tensor:
        """Return scores ``(batch, classes)`` of word numbers ``(batch, length)`` int64."""
        x = self.words(words) + self.positions[: words.shape[1]]
        if self.segments is not None:
            x = x + self.segments[0]
        visible = self.visible(words)
        for block in self.blocks:
            x = block(x, visible)
        scores: Tensor = self.head(self._read(self.norm(x), words))
        return scores

    def visible(self, words: Tensor) -> Tensor:
        """Return which position may look at which, ``(batch, length, length)`` bool.

        Nobody looks at padding, except that position 0 can always be seen: a sentence without
        words still has something to look at.
        """
        length = words.shape[1]
        place = torch.arange(length, device=words.device)
        real = (words != PAD) | (place == 0)
        seen = real[:, None, :].expand(-1, length, -1)
        return seen if self.pooler is not None else seen & (place[:, None] >= place)

    def _read(self, x: Tensor, words: Tensor) -> Tensor:
        if self.pooler is not None:
            pooled: Tensor = torch.tanh(self.pooler(x[:, 0]))
            return pooled
        place = torch.arange(words.shape[1], device=words.device)
        last = torch.where(words != PAD, place, 0).amax(dim=1, keepdim=True)
        return ((place == last).to(x.dtype)[..., None] * x).sum(dim=1)


def _check(kind: str, width: int, layers: int) -> None:
    if kind not in ("gpt", "bert"):
        raise RequestError(f"kind is {kind!r}: use 'gpt' or 'bert'")
    if width < 1 or (width > HEAD_WIDTH and width % HEAD_WIDTH):
        raise RequestError(f"width is {width!r}: use at most {HEAD_WIDTH} or a multiple of it")
    if layers < 1:
        raise RequestError(f"layers is {layers!r}: use at least 1")
