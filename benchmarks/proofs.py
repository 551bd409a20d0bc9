"""What the proofs of lock step add to a default run: ``python -m benchmarks.proofs``.

Whole calls of ``wb.run`` on the circles, recording, choosing and measuring included, with the
proofs and without them, interleaved in one process, one thread; medians of the rounds, in
processor time. Without them means:
no step is compared with the function, values read in Python and hidden state are not looked for.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Iterator
from unittest import mock

import torch

import wingbeat as wb
from wingbeat import session
from wingbeat.determinism import fingerprint
from wingbeat.replicas import first_loss, lockstep
from wingbeat.replicas.choose import Chooser
from wingbeat.replicas.replicas import Replicas
from wingbeat.tasks.dense import circles_task


@contextlib.contextmanager
def unproven() -> Iterator[None]:
    """Run a block without any of the proofs."""
    with (
        mock.patch.object(Replicas, "prove"),
        mock.patch.object(Chooser, "_hold_to_plain"),
        mock.patch.object(first_loss, "notice_idle"),
        mock.patch.object(lockstep, "ReadsRefused", contextlib.nullcontext),
        mock.patch.object(lockstep, "refuse_dynamic"),
        mock.patch.object(first_loss, "HiddenState"),
        mock.patch.object(session, "HiddenState"),
    ):
        yield


def seconds(replicas: int) -> float:
    begin = time.process_time()
    result = wb.run(circles_task(), wb.Gaussian(0.01), replicas=replicas, progress=False)
    took = time.process_time() - begin
    assert result.noise_floor == 0.0
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(fingerprint(torch.device("cpu"), torch.float32)["processor"])
    for replicas in (3, 48):  # 5 and 50 trajectories with the reference and its twin
        seconds(replicas)  # imports, and the driver's choice
        ratios = []
        for _ in range(rounds):
            proven = seconds(replicas)
            with unproven():
                ratios.append(proven / seconds(replicas))
        low, *_, high = sorted(ratios)
        middle = statistics.median(ratios)
        print(
            f"{replicas + 2} trajectories: with the proofs {100 * (middle - 1):+.1f} % "
            f"({100 * (low - 1):+.1f} to {100 * (high - 1):+.1f})"
        )


if __name__ == "__main__":
    main()
