"""What the proofs of lock step add to a default run: ``python -m benchmarks.proofs``.

Whole calls of ``wb.run`` on the circles, recording, choosing and measuring included, one thread.
Every proof is timed where it is made, and its share of the rest of the call is printed: whole
runs differ by more than the proofs take.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import wingbeat as wb
from wingbeat.fingerprint import fingerprint
from wingbeat.replicas import first_loss
from wingbeat.replicas.drivers import lockstep
from wingbeat.replicas.drivers.selection import DriverSelector
from wingbeat.replicas.replicas import Replicas
from wingbeat.task.hidden_state import HiddenState
from wingbeat.tasks.dense import circles_task

PROOFS: list[tuple[Any, str]] = [
    (Replicas, "prove"),
    (DriverSelector, "_hold_to_plain"),
    (first_loss, "notice_idle"),
    (lockstep, "refuse_dynamic"),
    *((HiddenState, name) for name in ("__init__", "look", "changed", "restore")),
]


class Clock:
    """Processor time spent in proofs; one within another counts once."""

    def __init__(self) -> None:
        self.spent, self._depth = 0.0, 0
        for owner, name in PROOFS:
            setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **options: Any) -> Any:
            begin = time.process_time()
            self._depth += 1
            try:
                return function(*args, **options)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.spent += time.process_time() - begin

        return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(fingerprint(torch.device("cpu"), torch.float32)["processor"])
    clock = Clock()
    for replicas in (3, 48):  # 5 and 50 trajectories with the reference and its twin
        shares = []
        for _ in range(rounds + 1):
            clock.spent, begin = 0.0, time.process_time()
            wb.run(circles_task(), wb.Gaussian(0.01), replicas=replicas, progress=False)
            whole = time.process_time() - begin
            shares.append(100 * clock.spent / (whole - clock.spent))
        first, *warm = shares
        print(
            f"{replicas + 2} trajectories: proofs add {statistics.median(warm):.1f} % "
            f"({min(warm):.1f} to {max(warm):.1f}); {first:.1f} % to the first run of a process"
        )


if __name__ == "__main__":
    main()
