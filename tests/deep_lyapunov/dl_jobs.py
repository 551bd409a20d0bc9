"""Small models, data and training functions in the shape of deep-lyapunov scripts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from sklearn.datasets import make_circles
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from wingbeat import deep_lyapunov as dl


def net(*widths: int, seed: int = 0) -> nn.Sequential:
    """A ReLU net with these widths."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def circles(count: int = 96) -> TensorDataset:
    x, y = make_circles(count, noise=0.1, factor=0.5, random_state=0)
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))


def loader(count: int = 96, batch: int = 16, **options: Any) -> DataLoader[Any]:
    return DataLoader(circles(count), batch_size=batch, **options)


def train(
    model: nn.Module, batches: Any, n_epochs: int, lr: float = 0.1, momentum: float = 0.0
) -> dict[str, float]:
    """Plain SGD, which has nothing to lose when it is built anew."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    model.train()
    for _ in range(n_epochs):
        for x, y in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
    return {"loss": loss.item()}


def adam(model: nn.Module, batches: Any, n_epochs: int) -> dict[str, float]:
    """Adam at 1e-2, as in the reference run."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(n_epochs):
        for x, y in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
    return {"loss": loss.item()}


def analyzer(model: nn.Module | None = None, **settings: Any) -> dl.StabilityAnalyzer:
    quiet = {"device": "cpu", "verbose": False, "n_trajectories": 3, **settings}
    return dl.StabilityAnalyzer(net(2, 8, 2) if model is None else model, **quiet)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])
