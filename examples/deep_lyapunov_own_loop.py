"""A script for deep-lyapunov with its own training loop; only the import line is changed."""

import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from wingbeat.deep_lyapunov import StabilityAnalyzer


def main(folder="outputs/deep_lyapunov_own_loop"):
    torch.manual_seed(0)
    x, y = make_moons(400, noise=0.1, random_state=0)
    data = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    loader = DataLoader(data, batch_size=40)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))

    analyzer = StabilityAnalyzer(model, n_trajectories=4, verbose=False)
    analyzer.start_recording()
    copies = analyzer.get_models()
    optimizers = [torch.optim.Adam(copy.parameters(), lr=0.01) for copy in copies]
    losses = [[] for _ in copies]
    for _epoch in range(10):
        for copy, optimizer, history in zip(copies, optimizers, losses):  # noqa: B905
            for inputs, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(copy(inputs), labels)
                loss.backward()
                optimizer.step()
            history.append(loss.item())
        analyzer.record_checkpoint()

    results = analyzer.compute_metrics([{"loss": history} for history in losses])
    for one in results.trajectory_metrics:
        print(f"copy {one.trajectory_id}: loss {one.final_loss:.3f}, path {one.path_length:.2f}")
    print(f"{results.behavior}: ratio {results.convergence_ratio:.2f}")
    results.save_report(folder, embed_images=False, format="markdown")
    return results


if __name__ == "__main__":
    main()
