"""Checkpoints for the tests, made by hand, and slow references in plain NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def state(seed: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> dict[str, Tensor]:
    """Five tensors of odd sizes, one larger than a quantum of two checkpoints, one empty."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"layers.0.w": (331, 211), "layers.0.b": (7,), "layers.1.w": (3, 5, 2), "s": ()}
    found = {n: scale * torch.randn(shape, generator=generator) for n, shape in shapes.items()}
    return {**{n: t.to(dtype) for n, t in found.items()}, "none": torch.zeros(0, 3, dtype=dtype)}


def written(path: Path, tensors: dict[str, Tensor], **metadata: str) -> Path:
    save_file(tensors, path, metadata or None)
    return path


def sharded(folder: Path, tensors: dict[str, Tensor], shards: int = 2) -> Path:
    """Write the Hugging Face layout; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names, places = list(tensors), {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        own = names[i::shards]
        save_file({n: tensors[n] for n in own}, folder / file)
        places |= dict.fromkeys(own, file)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def raw(path: Path, header: Any, payload: bytes = b"", *, length: int | None = None) -> Path:
    """Write a safetensors file byte by byte; ``header`` may be bytes that are no JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + payload)
    return path


def points(states: list[dict[str, Tensor]], name: str | None = None) -> np.ndarray:
    """All numbers of the checkpoints in memory, (n, P) float64."""
    names = [name] if name else [n for n in states[0] if states[0][n].numel()]
    rows = [np.concatenate([s[n].double().numpy().ravel() for n in names]) for s in states]
    return np.stack(rows)


class Evil:
    """Makes a marker file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        import os

        return os.system, (f"touch {self.marker}",)
