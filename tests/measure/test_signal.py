"""Parameters that move by rounding alone do not make the headline, and are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import wingbeat as wb

X = torch.randn(128, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] * X[:, 1] > 0).long()


class Attention(nn.Module):
    """One head; a bias of the keys adds the same number to all scores of a query."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(4, 4) for _ in range(3))
        self.leave = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.view(-1, 2, 4)
        scores = self.query(tokens) @ self.key(tokens).mT
        out: Tensor = self.leave((scores.softmax(-1) @ self.value(tokens)).mean(1))
        return out


def deep() -> nn.Module:
    """Twelve sigmoid layers: the first gradients have nearly vanished, and are signals."""
    inner = [m for _ in range(12) for m in (nn.Linear(8, 8), nn.Sigmoid())]
    return nn.Sequential(*inner, nn.Linear(8, 2))


class Unused(nn.Module):
    """A layer that the loss never sees."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.used(x)
        return out


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2)),
        ("0.bias",),
    ),
    "no bias": (
        lambda: nn.Sequential(
            nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2)
        ),
        (),
    ),
    "dropout behind": (
        lambda: nn.Sequential(
            nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 2)
        ),
        ("0.bias",),
    ),
    "keys": (Attention, ("key.bias",)),
    "dense": (lambda: nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)), ()),
    "vanishing": (deep, ()),
    "unused": (Unused, ()),
}


def run(name: str, dtype: torch.dtype, **options: Any) -> wb.Result:
    task = wb.Task(
        model=MODELS[name][0],
        loss=lambda m, b: F.cross_entropy(m(b[0]), b[1]),
        data=(X, Y),
        optimizer=lambda params: torch.optim.Adam(params, lr=0.01),
        batch_size=32,
        steps=60,
    )
    options = {"driver": "loop", "replicas": 3, "progress": False, **options}
    return wb.run(task, wb.Gaussian(1e-3), dtype=dtype, metrics=["l2", "spread"], **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_they_are_named_and_left_out(name: str, dtype: torch.dtype) -> None:
    result = run(name, dtype)
    expected = MODELS[name][1]
    named = [w for w in result.warnings if "rounding alone" in w]
    assert len(named) == bool(expected)
    assert all(tensor in named[0] for tensor in expected)
    assert ("convergence_ratio_all" in result.summary) == bool(expected)
    ends = [result.trajectory.at(step) for step in (0, 60)]
    kept = [k for k in ends[0].params if k not in expected]
    for entry, names in (("convergence_ratio", kept), ("convergence_ratio_all", ends[0].params)):
        if entry in result.summary:
            ratio = spread(ends[1].params, names) / spread(ends[0].params, names)
            assert result.summary[entry]["value"] == pytest.approx(ratio, rel=1e-6)


def spread(params: dict[str, Tensor], names: Any) -> float:
    """Return the root mean squared distance of the perturbed replicas from their mean."""
    flat = torch.cat([params[n][2:].double().flatten(1) for n in names], dim=1)
    return float((flat - flat.mean(0)).square().sum(1).mean().sqrt())


def test_the_headline_no_longer_depends_on_the_precision() -> None:
    single, double = (run("batch norm", d) for d in (torch.float32, torch.float64))
    assert single.convergence_ratio == pytest.approx(double.convergence_ratio, rel=1e-3)
    both = [r.summary["convergence_ratio_all"]["value"] for r in (single, double)]
    assert abs(both[0] / both[1] - 1) > 1e-2
