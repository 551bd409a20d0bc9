"""HSIC, CKA, SVCCA and Procrustes from their definitions, with explicit matrices in float64."""

from __future__ import annotations

import math

import numpy as np


def centring(n):
    return np.eye(n) - np.ones((n, n)) / n


def hsic(x, y, estimator):
    n = len(x)
    k, m = x @ x.T, y @ y.T
    h = centring(n)
    if estimator == "biased":
        return np.trace(k @ h @ m @ h) / (n - 1) ** 2
    if estimator == "zero_diagonal":
        a, b = h @ k @ h, h @ m @ h
        total = sum(a[i, j] * b[i, j] for i in range(n) for j in range(n) if i != j)
        return total / (n * (n - 1))
    return song(k, m)


def song(k, m):
    """Return equation 5 of Song et al. (2012), term by term."""
    n, ones = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    first = np.trace(k @ m)
    second = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (ones @ k @ m @ ones)
    return (first + second - third) / (n * (n - 3))


def cka(x, y, estimator):
    own = hsic(x, x, estimator) * hsic(y, y, estimator)
    return hsic(x, y, estimator) / math.sqrt(own)


def canonical(x, y):
    """Return canonical correlations from covariances: eigenvalues of Sx⁻¹ Sxy Sy⁻¹ Syx."""
    h = centring(len(x))
    sx, sy, sxy = x.T @ h @ x, y.T @ h @ y, x.T @ h @ y
    product = np.linalg.solve(sx, sxy) @ np.linalg.solve(sy, sxy.T)
    found = np.sort(np.linalg.eigvals(product).real)[::-1]
    return np.sqrt(np.clip(found[: min(x.shape[1], y.shape[1])], 0, 1))


def procrustes(x, y):
    """Return √(2 − 2 |XᵀY|_*) of centred features of norm 1."""
    h = centring(len(x))
    a, b = h @ x, h @ y
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    nuclear = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    return math.sqrt(max(0.0, 2 - 2 * nuclear))
