"""Weight-space estimators by the book: loops, P × P covariances, no Gram matrix."""

from __future__ import annotations

import math

import numpy as np


def dot(a, b):
    return math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def norm(a):
    return math.sqrt(dot(a, a))


def distance(a, b):
    return norm([float(x) - float(y) for x, y in zip(a, b, strict=True)])


def gram(points, centre):
    points = [[float(x) for x in row] for row in points]
    n, size = len(points), len(points[0])
    origin = [0.0] * size
    if centre == "first":
        origin = points[0]
    if centre == "mean":
        origin = [math.fsum(row[p] for row in points) / n for p in range(size)]
    moved = [[x - o for x, o in zip(row, origin, strict=True)] for row in points]
    return np.array([[dot(a, b) for b in moved] for a in moved])


def spread(points):
    total = []
    for p in range(len(points[0])):
        column = [float(row[p]) for row in points]
        mean = math.fsum(column) / len(column)
        total.append(math.fsum((x - mean) ** 2 for x in column) / len(column))
    return math.sqrt(math.fsum(total))


def weighted_spread(points, counts):
    """The spread of the points with each repeated as often as it was drawn."""
    return spread([row for row, count in zip(points, counts, strict=True) for _ in range(count)])


def distinct_pair_spread(points, counts):
    """Root of half the mean squared distance over drawn pairs of different replicas, ddof 0."""
    n, top, bottom = len(points), 0.0, 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                pairs = counts[i] * counts[j]
                top += pairs * distance(points[i], points[j]) ** 2
                bottom += pairs
    return math.sqrt((n - 1) / n * top / bottom / 2) if bottom else math.nan


def covariance_eigen(points):
    values, vectors = np.linalg.eigh(np.cov(np.asarray(points, float), rowvar=False, ddof=0))
    return np.clip(values[::-1], 0, None), vectors[:, ::-1]


def participation_ratio(points):
    values, _ = covariance_eigen(points)
    return values.sum() ** 2 / (values**2).sum()


def scores(points, k):
    """Coordinates along the leading eigenvectors of the P × P covariance, largest positive."""
    points = np.asarray(points, float)
    _, vectors = covariance_eigen(points)
    out = (points - points.mean(axis=0)) @ vectors[:, :k]
    for j in range(out.shape[1]):
        if out[np.argmax(np.abs(out[:, j])), j] < 0:
            out[:, j] = -out[:, j]
    return out


def projected_spread(points, k):
    """(T,) spread of the scores of all T·N points, component by component."""
    t, n, _ = points.shape
    found = scores(points.reshape(t * n, -1), min(k, n - 1)).reshape(t, n, -1)
    return np.array([spread(snapshot) for snapshot in found])


def least_squares(x, y):
    """Slope and intercept from the normal equations."""
    n = len(x)
    sx, sy = math.fsum(x), math.fsum(y)
    sxx = math.fsum(a * a for a in x)
    sxy = math.fsum(a * b for a, b in zip(x, y, strict=True))
    slope = (n * sxy - sx * sy) / (n * sxx - sx * sx)
    return slope, (sy - slope * sx) / n


def early_late(steps, spread_):
    """Walk through time in small pieces and add up the change on each side of the middle."""
    middle = (steps[0] + steps[-1]) / 2
    change, time = [0.0, 0.0], [0.0, 0.0]
    for i in range(len(steps) - 1):
        if spread_[i] <= 0 or spread_[i + 1] <= 0:
            continue
        rate = abs(math.log(spread_[i + 1]) - math.log(spread_[i])) / (steps[i + 1] - steps[i])
        for a, b, side in ((steps[0], middle, 0), (middle, steps[-1], 1)):
            overlap = max(0.0, min(b, steps[i + 1]) - max(a, steps[i]))
            change[side] += rate * overlap
            time[side] += overlap
    return (change[0] / time[0]) / (change[1] / time[1])


def disagreement(a, b):
    different = 0
    for x, y in zip(a, b, strict=True):
        different += max(range(len(x)), key=x.__getitem__) != max(range(len(y)), key=y.__getitem__)
    return different / len(a)
