"""One update of a 4-10-3 sigmoid net with softmax and cross-entropy, in plain loops."""

from __future__ import annotations

import math

import numpy as np


def iris_update(w: np.ndarray, x: np.ndarray, labels: np.ndarray, eta: float) -> np.ndarray:
    """Return the 83 weights after one step of full-batch gradient descent."""
    first, first_bias = w[:40].reshape(10, 4), w[40:50]
    last, last_bias = w[50:80].reshape(3, 10), w[80:]
    grad = np.zeros(83)
    for row, label in zip(x, labels, strict=True):
        hidden = []
        for j in range(10):
            z = first_bias[j] + sum(first[j, i] * row[i] for i in range(4))
            hidden.append(1.0 / (1.0 + math.exp(-z)))
        logits = [last_bias[c] + sum(last[c, j] * hidden[j] for j in range(10)) for c in range(3)]
        total = sum(math.exp(z) for z in logits)
        for c in range(3):
            error = (math.exp(logits[c]) / total - (c == label)) / len(x)
            grad[80 + c] += error
            for j in range(10):
                grad[50 + 10 * c + j] += error * hidden[j]
                inner = error * last[c, j] * hidden[j] * (1.0 - hidden[j])
                grad[40 + j] += inner
                for i in range(4):
                    grad[4 * j + i] += inner * row[i]
    return w - eta * grad
