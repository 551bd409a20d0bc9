"""What low-rank adapters add to a model: the product of their factors, beside the factors.

Two adapters may add the same with other factors (B R, R⁻¹ A), so distances of factors do not tell
how far apart the models are. ``|s₁ B₁ A₁ − s₂ B₂ A₂|`` is computed from the factors alone, by QR of
both stacked: never larger than their sizes times twice the rank.
Source: Hu et al., "LoRA", arXiv 2106.09685; scale lora_alpha ÷ r (÷ √r for rank-stabilised ones).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wingbeat.checkpoints.source import read_whole
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from wingbeat.checkpoints.names import Shared
    from wingbeat.checkpoints.source import Entry, Source


# PEFT and diffusers; its embeddings; diffusers before; kohya.
_FACTORS = (
    (re.compile(r"(.*\.lora_)A((?:\.\w+)?\.weight)"), "B"),
    (re.compile(r"(.*\.lora_embedding_)A(\.\w+|)"), "B"),
    (re.compile(r"(.*[._]lora[._])down(\.weight)"), "up"),
)
_TAIL = re.compile(r"[._]lora(?:_embedding)?[._]$")
CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Adapters:
    """Distances of what L adapted layers add, in n checkpoints, the first the reference.

    Attributes:
        layers: names of the adapted layers, (L,).
        norm: |s B A| in the first, (L,), weight.
        l2: |s₁ B₁ A₁ − sᵢ Bᵢ Aᵢ|, (L, n), weight, ≥ 0, 0 = the same.
        scales: s of each checkpoint, (n,); 1 where no configuration lies beside it.
    """

    layers: tuple[str, ...]
    norm: Array
    l2: Array
    scales: tuple[float, ...]

    @property
    def total(self) -> Array:
        """Distance over all layers together, (n,), weight."""
        return np.asarray(np.sqrt((self.l2**2).sum(axis=0)))

    @property
    def relative(self) -> Array:
        """That ÷ the norm of all that the first adds, (n,); NaN if it adds nothing."""
        size = float(np.sqrt((self.norm**2).sum()))
        return self.total / size if size else np.full(self.l2.shape[1], np.nan)


def adapters(shared: Sequence[Shared], sources: Sequence[Source]) -> Adapters | None:
    """Return the distances of products; None where the checkpoints hold no pairs of factors."""
    known = {tensor.name: tensor.entries for tensor in shared}
    pairs = {layer: (known[a], known[b]) for layer, a, b in factors(list(known))}
    if not pairs:
        return None
    scales = tuple(scale(source) for source in sources)
    rows = [_row(a, b, scales) for a, b in pairs.values()]
    norm, l2 = (np.array([row[k] for row in rows]) for k in (0, 1))
    return Adapters(tuple(pairs), norm, l2, scales)


def factors(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return layer, name of A and name of B for every pair of factors.

    >>> factors(["q.lora_A.weight", "q.lora_B.weight", "q.bias"])
    [('q', 'q.lora_A.weight', 'q.lora_B.weight')]
    """
    there, found = set(names), []
    for name in names:
        for pattern, other in _FACTORS:
            match = pattern.fullmatch(name)
            partner = f"{match[1]}{other}{match[2]}" if match else ""
            if match and partner in there:
                found.append((_TAIL.sub("", match[1]), name, partner))
    return found


def scale(source: Source) -> float:
    """Return lora_alpha ÷ r of the configuration beside a checkpoint; 1 without one."""
    folder = source.path if source.path.is_dir() else source.path.parent
    try:
        held = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        alpha, rank = float(held["lora_alpha"]), float(held["r"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1.0
    return alpha / (rank**0.5 if held.get("use_rslora") else rank) if rank > 0 else 1.0


def _row(
    a: Sequence[Entry], b: Sequence[Entry], scales: Sequence[float]
) -> tuple[float, list[float]]:
    """Return the norm of the first product, and the distance of each to it."""
    first_a, first_b = _matrix(a[0]), scales[0] * _matrix(b[0])
    apart = [0.0]
    for place in range(1, len(a)):
        down = torch.cat([first_a, _matrix(a[place])])
        up = torch.cat([first_b, -scales[place] * _matrix(b[place])], 1)
        apart.append(_norm(up, down))
    return _norm(first_b, first_a), apart


def _matrix(entry: Entry) -> Tensor:
    return read_whole(entry).double().flatten(1)


def _norm(up: Tensor, down: Tensor) -> float:
    """Return |up · down| without forming the product.

    >>> up, down = torch.tensor([[3.0], [4.0]]).double(), torch.ones(1, 4).double()
    >>> round(_norm(up, down), 9)
    10.0
    """
    if not (bool(torch.isfinite(up).all()) and bool(torch.isfinite(down).all())):
        return float("nan")
    left = torch.linalg.qr(up, mode="r").R
    right = torch.linalg.qr(down.T, mode="r").R
    return float((left @ right.T).norm())
