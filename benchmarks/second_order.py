"""Participation ratio, PCA and spread of 50 snapshots of a 1,000,000-parameter model.

Prints seconds and the extra memory at the peak, as a share of the snapshots' own bytes. The
covariance of the weights, which deep-lyapunov 0.1.2 forms, would take 16·P² bytes: 16 TB.

    python -m benchmarks.second_order
"""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import psutil

from wingbeat import metrics

SNAPSHOTS, PARAMETERS = 50, 1_000_000


class Peak:
    """Watches the resident memory of this process while a block runs."""

    def __enter__(self) -> Peak:
        self.process = psutil.Process()
        self.start = self.highest = self.process.memory_info().rss
        self.running = True
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while self.running:
            self.highest = max(self.highest, self.process.memory_info().rss)
            time.sleep(0.002)

    def __exit__(self, *_: object) -> None:
        self.running = False
        self.thread.join()

    @property
    def extra(self) -> int:
        """Bytes above the start."""
        return self.highest - self.start


def measure() -> dict[str, object]:
    points = np.random.default_rng(0).normal(size=(SNAPSHOTS, PARAMETERS)).astype(np.float32)
    metrics.participation_ratio(points[:, :1000])  # imports and thread pools
    with Peak() as peak:
        begin = time.perf_counter()
        ratio = metrics.participation_ratio(points)
        pca = metrics.trajectory_pca(points, 10)
        spread = float(metrics.spread(points))
        seconds = time.perf_counter() - begin
    return {
        "seconds": round(seconds, 3),
        "asked_seconds": 2.0,
        "extra_memory_share": round(peak.extra / points.nbytes, 4),
        "asked_share": 1.5,
        "participation_ratio": round(ratio, 3),
        "first_component": round(float(pca.explained[0]), 5),
        "spread": round(spread, 3),
    }


def main() -> None:
    print(json.dumps(measure(), indent=1))


if __name__ == "__main__":
    main()
