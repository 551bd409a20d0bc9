"""Multi-head attention and masks as plain NumPy loops."""

from __future__ import annotations

import numpy as np


def attention(
    x: np.ndarray,
    visible: np.ndarray,
    qkv: tuple[np.ndarray, np.ndarray],
    out: tuple[np.ndarray, np.ndarray],
    heads: int,
) -> np.ndarray:
    """Return the mixed tokens (length, width) of one sentence."""
    length, width = x.shape
    each = width // heads
    joined = x @ qkv[0].T + qkv[1]
    mixed = np.zeros((length, width))
    for h in range(heads):
        query, key, value = (
            joined[:, part * width + h * each : part * width + (h + 1) * each] for part in range(3)
        )
        for i in range(length):
            seen = [j for j in range(length) if visible[i, j]]
            scores = np.array([query[i] @ key[j] / np.sqrt(each) for j in seen])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            mixed[i, h * each : (h + 1) * each] = sum(
                w * value[j] for w, j in zip(weights, seen, strict=True)
            )
    return mixed @ out[0].T + out[1]
