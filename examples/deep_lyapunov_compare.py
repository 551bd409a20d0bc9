"""A script for deep-lyapunov that compares three nets; only the import line is changed."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from wingbeat.deep_lyapunov import AnalyzerConfig, StabilityAnalyzer


def train(model, train_loader, n_epochs, lr=0.05):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(n_epochs):
        right = count = 0
        for x, y in train_loader:
            optimizer.zero_grad()
            scores = model(x)
            loss = nn.functional.cross_entropy(scores, y)
            loss.backward()
            optimizer.step()
            right += (scores.argmax(1) == y).sum().item()
            count += len(y)
    return {"loss": loss.item(), "accuracy": right / count}


def main(epochs=6):
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x[:512], dtype=torch.float32) / 16, torch.tensor(y[:512]))
    nets = {
        "wide": lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)),
        "narrow": lambda: nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)),
        "deep": lambda: nn.Sequential(
            nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10)
        ),
    }
    config = AnalyzerConfig(n_trajectories=4, perturbation_scale=0.01, seed=1, verbose=False)
    found = {}
    for name, build in nets.items():
        torch.manual_seed(0)
        analyzer = StabilityAnalyzer(build(), config=config)
        found[name] = analyzer.analyze(train, DataLoader(data, 64, shuffle=True), epochs, lr=0.1)
        accuracy = [one.final_accuracy for one in found[name].trajectory_metrics]
        print(
            f"{name:8} {found[name].n_parameters:6} {found[name].convergence_ratio:7.3f} "
            f"{found[name].lyapunov:+.4f} {found[name].behavior:13} {sum(accuracy) / 4:.2f}"
        )
    return found


if __name__ == "__main__":
    main()
