from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from wingbeat import metrics

ESTIMATORS = {
    "gram": metrics.gram,
    "spread": metrics.spread,
    "participation_ratio": lambda p: metrics.participation_ratio(p[0]),
    "trajectory_pca": lambda p: metrics.trajectory_pca(p[0], 3),
    "convergence_ratio": metrics.convergence_ratio,
    "projected_spread": metrics.projected_spread,
    "legacy_ratio": metrics.legacy_ratio,
    "l2": lambda p: metrics.l2(p[:, :1], p),
    "cosine": lambda p: metrics.cosine(p[:, :1], p),
    "path_length": metrics.path_length,
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("slice_first", [False, True], ids=["whole", "slice"])
def test_extra_memory_is_a_fraction_of_the_snapshots(name, slice_first):
    points = np.zeros((5, 12, 100_000), np.float32)
    points += np.arange(60, dtype=np.float32).reshape(5, 12, 1)
    points = points[:, 2:] if slice_first else points
    tracemalloc.start()
    ESTIMATORS[name](points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.3 * points.nbytes


def test_float64_input_is_read_in_place():
    points = np.zeros((4, 10))
    (block,) = metrics.blocks.blocks(points)
    assert np.shares_memory(block, points)
    tensor = torch.zeros(4, 10, dtype=torch.float64)
    (block,) = metrics.blocks.blocks(tensor)
    assert np.shares_memory(block, tensor.numpy())
