"""A small causal transformer that predicts the next character."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError
from wingbeat.tasks.models.transformer import HEAD_WIDTH, Block


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
