"""Small data sets that scikit-learn ships, as tensors."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from wingbeat.errors import RequestError, require

Labelled = tuple[Tensor, Tensor]
"""Inputs ``(n, …)`` float32 and labels ``(n,)`` int64."""

DIGITS: Final = 1797
"""How many images scikit-learn's digits hold."""


def circles(n: int = 1000, noise: float = 0.1, factor: float = 0.5, seed: int = 0) -> Labelled:
    """Draw points on two noisy concentric circles.

    Args:
        n: how many points, half of them on each circle.
        noise: standard deviation of the Gaussian noise added to each coordinate.
        factor: radius of the inner circle; the outer has radius 1.
        seed: scikit-learn's ``random_state``: equal seeds give equal points, its own.

    Returns:
        Points ``(n, 2)`` float32 and labels ``(n,)`` int64, 0 the outer and 1 the inner circle.

    Raises:
        RequestError: fewer than two points, negative noise, or a factor outside [0, 1).

    Source:
        Pedregosa et al., "Scikit-learn: Machine Learning in Python", JMLR 12 (2011),
        ``sklearn.datasets.make_circles``.

    Example:
        >>> points, labels = circles(n=10)
        >>> tuple(points.shape), points.dtype, labels.bincount().tolist()
        ((10, 2), torch.float32, [5, 5])
    """
    require(n >= 2, "n", n, "use at least 2 points")
    require(noise >= 0, "noise", noise, "use a standard deviation of at least 0")
    require(0 <= factor < 1, "factor", factor, "use a radius of at least 0 and below 1")
    outer = np.linspace(0, 2 * np.pi, n // 2, endpoint=False)
    inner = np.linspace(0, 2 * np.pi, n - n // 2, endpoint=False)
    parts = [
        np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius
        for angle, radius in ((outer, 1.0), (inner, factor))
    ]
    # The draws are scikit-learn's, bit for bit, without the second that importing it takes.
    draw = np.random.RandomState(seed)
    order = np.arange(n)
    draw.shuffle(order)
    points = np.concatenate(parts)[order] + draw.normal(scale=noise, size=(n, 2))
    return _tensors(points, order >= n // 2)


def digits(n_train: int = 1400) -> tuple[Labelled, Labelled]:
    """Return scikit-learn's 1,797 images of handwritten digits, split by position.

    Args:
        n_train: the first so many images, in the order of the file, are the training set;
            the others are the test set.

    Returns:
        ``(train, test)``, each of images ``(n, 1, 8, 8)`` float32 in [0, 1] (the file's 0 to 16
        divided by 16) and labels ``(n,)`` int64 from 0 to 9.

    Raises:
        RequestError: the split leaves one of the two parts empty.

    Source:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository (1998), test part, as shipped by ``sklearn.datasets.load_digits``.

    Example:
        >>> (images, labels), (test_images, test_labels) = digits()
        >>> tuple(images.shape), tuple(test_images.shape)
        ((1400, 1, 8, 8), (397, 1, 8, 8))
        >>> float(images.min()), float(images.max())
        (0.0, 1.0)
    """
    advice = f"use a whole number from 1 to {DIGITS - 1}"
    require(0 < n_train < DIGITS, "n_train", n_train, advice)
    flat, labels = shipped().load_digits(return_X_y=True)
    images = flat.reshape(-1, 1, 8, 8) / 16.0
    return _tensors(images[:n_train], labels[:n_train]), _tensors(
        images[n_train:], labels[n_train:]
    )


def shipped() -> Any:
    """Return the module ``sklearn.datasets``.

    Raises:
        RequestError: scikit-learn is not installed.
    """
    try:
        return import_module("sklearn.datasets")
    except ImportError as error:
        msg = "the ready-made tasks need scikit-learn's data: pip install 'wingbeat[tasks]'"
        raise RequestError(msg) from error


def _tensors(inputs: np.ndarray, labels: np.ndarray) -> Labelled:
    return (
        torch.from_numpy(inputs.astype(np.float32)),
        torch.from_numpy(labels.astype(np.int64)),
    )


def evenly_spaced(data: Labelled, samples: int | None) -> Labelled:
    """Return so many samples, evenly spaced, all for None: a file may be sorted by class.

    Raises:
        RequestError: fewer than one, or more than there are.
    """
    if samples is None:
        return data
    if not 1 <= samples <= len(data[0]):
        raise RequestError(f"samples is {samples!r}: use 1 to {len(data[0]):,}")
    places = torch.arange(samples) * len(data[0]) // samples
    return data[0][places], data[1][places]
