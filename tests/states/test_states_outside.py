"""States of checkpoints that a loop by hand wrote, of any number of a table; and correlations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_states import needs_hmmlearn, rng
from torch import nn

import wingbeat as wb
from wingbeat.analyses.states import fit_gaussian, fit_states, series_of, series_of_table
from wingbeat.execution.external import measure_checkpoints
from wingbeat.metrics.weight_statistics import STATISTICS, weight_statistics

NAMES = ("matrix_l1", "matrix_spectral", "weights_var")


def saved_by_hand(folder):
    """Six seeds of a plain PyTorch loop, which saves a state dict every other step."""
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    weights = {}
    for seed in range(6):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
        (folder / f"run-{seed}").mkdir()
        for step in range(24):
            if step % 2 == 0:
                torch.save(net.state_dict(), folder / f"run-{seed}" / f"step-{step}.pt")
                weights[seed, step] = {
                    k: v.detach().double().numpy()[None].copy() for k, v in net.state_dict().items()
                }
            optimizer.zero_grad()
            ((net(x) - x.sum(1, keepdim=True)) ** 2).mean().backward()
            optimizer.step()
    return weights


@needs_hmmlearn
def test_checkpoints_of_a_loop_by_hand_have_states(tmp_path):
    weights = saved_by_hand(tmp_path)
    result = measure_checkpoints(f"{tmp_path}/run-*/step-*", ["weight_statistics"])
    series = series_of([result], NAMES)
    assert len(series.runs) == 6
    assert series.steps == tuple(range(0, 24, 2))
    made = np.array(
        [[[float(weight_statistics(weights[seed, step])[name][0]) for name in NAMES]
          for step in series.steps] for seed in range(6)]
    )  # fmt: skip
    assert set(NAMES) < set(STATISTICS)
    assert np.sort(series.values, axis=0) == pytest.approx(np.sort(made, axis=0), rel=1e-5)
    fitted = fit_states(series, (1, 2), restarts=2)
    assert fitted.paths.shape == (6, 12)
    assert len(fitted.table) == 72


@needs_hmmlearn
def test_any_number_of_the_table_serves_as_a_statistic():
    from wingbeat.tasks.dense import circles_task

    options = {"replicas": 1, "record_every": 5, "metrics": ("train_loss", "accuracy")}
    result = wb.run(circles_task((4,), epochs=2), wb.Gaussian(0.1), seeds=(0, 1), **options)
    series = series_of_table(result.table, ("train_loss", "accuracy"))
    assert len(series.runs) == 6  # reference, twin and copy of two base seeds
    own = result.table
    own = own[(own.metric == "train_loss") & (own.seed == 1) & (own.b == "reference")]
    # A loss has no value before the first update: the step is left out, not all runs.
    assert series.steps[0] == 5
    found = series.values[series.runs.index("1/reference"), :, 0]
    assert found.tolist() == own[own.step > 0].value.tolist()
    assert fit_states(series, (1, 2), restarts=1).model.means.shape[1] == 2


@needs_hmmlearn
def test_a_full_covariance_has_the_correlation_of_its_sample():
    """The library's own prior makes .20 of nothing; ours leaves what is there."""
    from hmmlearn.hmm import GaussianHMM

    x = 0.01 * rng(0).normal(size=(400, 2))

    def correlation(matrix):
        return matrix[0, 1] / np.sqrt(matrix[0, 0] * matrix[1, 1])

    sample = np.corrcoef(x.T)[0, 1]
    theirs = GaussianHMM(1, "full", random_state=0).fit(x)
    assert correlation(theirs.covars_[0]) > sample + 0.1
    ours = fit_gaussian([x / x.std(axis=0)], 1, covariance="full", restarts=1)
    assert correlation(ours.covariances[0]) == pytest.approx(sample, abs=0.01)
    diagonal = fit_gaussian([x / x.std(axis=0)], 1, restarts=1)
    assert correlation(diagonal.covariances[0]) == 0.0
