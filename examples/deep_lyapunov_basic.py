"""A script for deep-lyapunov, with only its import line changed: analyse, print, report."""

import torch
from sklearn.datasets import make_circles
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from wingbeat.deep_lyapunov import StabilityAnalyzer


def train(model, train_loader, n_epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    model.train()
    for _ in range(n_epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    return {"loss": losses}


def main(folder="outputs/deep_lyapunov_basic"):
    torch.manual_seed(0)
    x, y = make_circles(400, noise=0.1, factor=0.5, random_state=0)
    data = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))

    analyzer = StabilityAnalyzer(model=model, perturbation_scale=0.01, n_trajectories=5)
    results = analyzer.analyze(
        train_fn=train,
        train_loader=DataLoader(data, batch_size=32, shuffle=True),
        n_epochs=10,
    )

    print(f"convergence ratio: {results.convergence_ratio:.2f}x")
    print(f"Lyapunov exponent: {results.lyapunov:.4f}")
    print(f"training is:       {results.behavior}")
    results.plot_trajectories()
    results.save_report(folder)
    return results


if __name__ == "__main__":
    main()
