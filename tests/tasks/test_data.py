"""The built-in data: shapes, ranges, splits and repetition."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import make_circles

from wingbeat.errors import RequestError
from wingbeat.tasks.data.sklearn import circles, digits


def test_circles_without_noise_lie_on_their_circles() -> None:
    points, labels = circles(n=200, noise=0.0, factor=0.25)
    radii = points.double().norm(dim=1)
    expected = torch.where(labels == 0, 1.0, 0.25).double()
    torch.testing.assert_close(radii, expected, rtol=0, atol=1e-6)


def test_circles_noise_has_the_stated_deviation() -> None:
    clean, order = circles(n=20_000, noise=0.0, seed=3)
    noisy, _ = circles(n=20_000, noise=0.1, seed=3)
    assert order.bincount().tolist() == [10_000, 10_000]
    # noise adds twice its variance to the mean squared radius; the tolerance is 3.6 deviations
    growth = (noisy.double() ** 2).sum(1).mean() - (clean.double() ** 2).sum(1).mean()
    assert float(growth) == pytest.approx(2 * 0.1**2, abs=0.004)


@pytest.mark.parametrize(
    ("n", "noise", "factor", "seed"), [(1000, 0.1, 0.5, 0), (7, 0.0, 0.3, 3), (33, 0.2, 0.0, 5)]
)
def test_circles_are_those_of_scikit_learn(n: int, noise: float, factor: float, seed: int) -> None:
    points, labels = circles(n, noise, factor, seed)
    theirs, classes = make_circles(n, noise=noise, factor=factor, random_state=seed)
    assert (points.numpy() == theirs.astype("float32")).all()
    assert (labels.numpy() == classes).all()


def test_circles_repeat_by_seed() -> None:
    first, again, other = circles(seed=1), circles(seed=1), circles(seed=2)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("n", [2, 3, 1000])
def test_circles_types(n: int) -> None:
    points, labels = circles(n=n)
    assert points.shape == (n, 2)
    assert labels.shape == (n,)
    assert (points.dtype, labels.dtype) == (torch.float32, torch.int64)


def test_digits_split_by_position() -> None:
    (images, labels), (test_images, test_labels) = digits()
    assert images.shape == (1400, 1, 8, 8)
    assert test_images.shape == (397, 1, 8, 8)
    assert (len(labels), len(test_labels)) == (1400, 397)
    assert labels.unique().tolist() == test_labels.unique().tolist() == list(range(10))
    half, rest = digits(700)
    assert torch.equal(half[0], images[:700])
    assert torch.equal(torch.cat([half[0], rest[0]]), torch.cat([images, test_images]))
    assert torch.equal(torch.cat([half[1], rest[1]]), torch.cat([labels, test_labels]))


def test_digits_are_sixteenths_between_zero_and_one() -> None:
    (images, _), _ = digits()
    assert images.dtype == torch.float32
    assert torch.equal((images * 16).round() / 16, images)
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (lambda: circles(n=1), "1"),
        (lambda: circles(noise=-0.5), "-0.5"),
        (lambda: circles(noise=float("nan")), "nan"),
        (lambda: circles(factor=1.0), "1.0"),
        (lambda: digits(0), "0"),
        (lambda: digits(1797), "1797"),
    ],
)
def test_wrong_requests_name_the_value(call, value) -> None:
    with pytest.raises(RequestError, match=value):
        call()
