"""Memory: of the README model as a whole, and of measuring beside what was recorded."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from wingbeat.deep_lyapunov import assess as assessment
from wingbeat.deep_lyapunov.assess import Recording, assess
from wingbeat.deep_lyapunov.config import MetricsConfig

README = """
import resource, sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from wingbeat.deep_lyapunov import StabilityAnalyzer

def train(model, batches, n_epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in batches:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return {"loss": loss.item()}

torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
data = TensorDataset(torch.randn(256, 784), torch.randint(10, (256,)))
analyzer = StabilityAnalyzer(
    model=model, perturbation_scale=0.01, n_trajectories=5, device="cpu", verbose=False
)
results = analyzer.analyze(train_fn=train, train_loader=DataLoader(data, 64), n_epochs=10)
results.plot_trajectories()
results.save_report(sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak, results.effective_dimensionality, results.n_parameters)
"""


@pytest.mark.slow
def test_the_readme_model_stays_below_a_gigabyte(tmp_path):
    """The original needs 83 GB for its covariance, or gives dimension 1.0 in silence."""
    command = [sys.executable, "-c", README, str(tmp_path / "out")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, dimension, parameters = map(float, done.stdout.split())
    assert parameters == 101_770
    unit = 1 if sys.platform == "darwin" else 1024
    assert peak * unit < 1e9
    assert dimension > 1.001
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("legacy", [True, False])
def test_measuring_takes_no_more_than_one_copy(legacy, monkeypatch):
    """The original takes five copies of what is stored."""
    if not legacy:
        monkeypatch.setattr(assessment, "LEGACY_BYTES", 0)
    rng = np.random.default_rng(0)
    start = rng.standard_normal(300_000).astype(np.float32)
    rows = tuple(
        tuple(start + 0.01 * rng.standard_normal(start.size).astype(np.float32) for _ in range(3))
        for _ in range(11)
    )
    stored = 33 * start.nbytes
    tracemalloc.start()
    results = assess(Recording(rows, tuple(map(float, range(11)))), 10, MetricsConfig())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (1.3 if legacy else 0.3) * stored
    assert np.isfinite(results.legacy_convergence_ratio) == legacy
    points = np.array(rows, dtype=float)
    expected = np.sqrt(points.var(axis=1).sum(axis=-1))
    np.testing.assert_allclose(results.spread_evolution, expected, rtol=1e-9)
