"""A small vision transformer: patches, positions, blocks, mean of the tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError
from wingbeat.tasks.models.transformer import HEAD_WIDTH, Block


class ViT(nn.Module):
    """A transformer that reads an image as a row of square patches.

    Args:
        width: of the tokens.
        layers: how many blocks.
        patch: side of a patch; it divides the image's side.
        heads: of the attention; 0 takes as many of width 32 as fit.
        classes: number of scores.
        channels: of the images.
        side: of the images.

    Raises:
        RequestError: patches that do not fit the image, or heads that do not fit the width.

    Source:
        Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021); mean pooling instead of a
        class token.

    Example:
        >>> ViT(64, 2)(torch.zeros(5, 3, 32, 32)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        width: int = 64,
        layers: int = 4,
        patch: int = 4,
        heads: int = 0,
        classes: int = 10,
        channels: int = 3,
        side: int = 32,
    ) -> None:
        super().__init__()
        heads = heads or max(1, width // (HEAD_WIDTH // 2))
        if side % patch:
            raise RequestError(f"patch is {patch!r}: use a divisor of the image's side {side}")
        if width % heads:
            raise RequestError(f"heads is {heads!r}: use a divisor of the width {width}")
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(torch.empty((side // patch) ** 2, width))
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores ``(batch, classes)`` of images ``(batch, channels, side, side)``."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        length = tokens.shape[1]
        visible = torch.ones(len(x), length, length, dtype=torch.bool, device=x.device)
        for block in self.blocks:
            tokens = block(tokens, visible)
        scores: Tensor = self.head(self.norm(tokens).mean(dim=1))
        return scores
