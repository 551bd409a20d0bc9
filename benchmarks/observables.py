"""What each observable costs beside the training that it looks at: processor time.

``python -m benchmarks.observables``: a dense net on the digits, one reference, its twin and four
copies for ten epochs, twelve records; each metric alone on the recorded run, as a share of the time
that training took.
"""

from __future__ import annotations

import statistics
import time
from importlib.util import find_spec

import torch

import wingbeat as wb
from wingbeat.measure import measure
from wingbeat.measure.metric import METRICS
from wingbeat.task.step import TrainingStep
from wingbeat.tasks.dense import digits_mlp_task

NAMES = (
    "unit_cosine", "sign_flips", "cka", "drift", "activation_flips", "feature_gap",
    "neural_collapse", "topology", "loops", "rtd_lite", "kernel", "local_elasticity",
    "weight_statistics",
)  # fmt: skip
ROUNDS = 3


def main() -> None:
    torch.set_num_threads(1)
    task = digits_mlp_task()
    begun = time.process_time()
    result = wb.run(task, wb.Gaussian(0.01), replicas=4, record_every=20, metrics="l2")
    trained = time.process_time() - begun
    print(f"training of six models and their records: {trained:.2f} s")
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    for name in NAMES:
        if name not in METRICS.names():
            continue
        if (
            METRICS.find(name).requires
            and find_spec(METRICS.find(name).requires.split(":")[0]) is None
        ):
            print(f"{name:18s} its package is not installed")
            continue
        took = []
        for _ in range(ROUNDS):
            begun = time.process_time()
            measure(result.trajectory, task, [name], None, step=step)
            took.append(time.process_time() - begun)
        begun = time.process_time()
        measure(result.trajectory, task, ["l2"], None, step=step)
        bare = time.process_time() - begun
        own = statistics.median(took) - bare
        print(f"{name:18s} {own:7.2f} s, {own / trained:5.0%} of training")


if __name__ == "__main__":
    main()
