"""What a tangent costs, in plain steps of the same implementation; and a full spectrum.

The plain step is one call of the engine's own pure step (forward, backward, update) of one
replica, recorded and replayed as the tangent step is: the fastest that this implementation
makes one step of one run. The extra cost of k tangents is the time of a step with tangents and
one orthonormalisation, less the plain step, over k. One thread; rounds alternate, medians of the
processor time. The spectrum's time is given on the clock too, which other work lengthens.

    python -m benchmarks.tangent [--rounds 15] [--dtype float32] [--spectrum 1000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from wingbeat.lyapunov.maps.orthonormal import orthonormal_rows
from wingbeat.lyapunov.training.exponents import training_spectrum
from wingbeat.lyapunov.training.tangent import TangentStep
from wingbeat.task.task import Task
from wingbeat.tasks.architectures import dense_task
from wingbeat.tasks.cnn import digits_task
from wingbeat.tasks.dense import circles_task, cross_entropy
from wingbeat.tasks.models.transformer import Transformer


def sentences_task() -> Task:
    """Classify random sentences of 16 of 500 words with a GPT of two layers of width 64."""
    words = torch.randint(1, 500, (256, 16), generator=torch.Generator().manual_seed(0))
    return Task(
        model=partial(Transformer, "gpt", 64, 2, vocabulary=500, length=16),
        loss=cross_entropy,
        data=(words, words.sum(1) % 2),
        optimizer=partial(torch.optim.AdamW, lr=5e-4),
        batch_size=16,
        steps=100,
    )


TASKS: dict[str, Callable[[], Task]] = {
    "MLP 2-64-32-2, Adam": circles_task,
    "CNN 8-16, Adam": digits_task,
    "transformer 2x64, AdamW": sentences_task,
}


def timed(job: Callable[[], Any]) -> float:
    begin = time.process_time()
    job()
    return (time.process_time() - begin) * 1e3


def measure(name: str, dtype: torch.dtype, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each number of tangents."""
    own = TangentStep(TASKS[name](), dtype)
    state = own.start()
    for index in range(3):
        state, _ = own.plain(state, index)
    own.plain(state, 3)  # the recording's last check of a power of two
    rows = []
    for k in (8, 32):
        drawn = torch.randn(k, own.coordinates.size, generator=torch.Generator().manual_seed(k))
        tangents = orthonormal_rows(drawn.to(dtype))[0]

        def with_tangents(tangents: torch.Tensor = tangents) -> None:
            orthonormal_rows(own(state, tangents, 3)[1])

        for _ in range(4):
            with_tangents()
        plain, full = [], []
        for _ in range(rounds):
            plain.append(timed(lambda: own.plain(state, 3)))
            full.append(timed(with_tangents))
        a, b = statistics.median(plain), statistics.median(full)
        best = (min(full) - min(plain)) / k / min(plain)
        rows.append(
            {
                "task": name,
                "parameters": own.coordinates.layout.size,
                "k": k,
                "plain_ms": round(a, 2),
                "step_ms": round(b, 2),
                "plain_steps_per_tangent": round((b - a) / k / a, 2),
                "of_fastest_rounds": round(best, 2),
                "asked": 2.5,
            }
        )
    return rows


def full_spectrum(steps: int) -> dict[str, Any]:
    """Time the 51 exponents of the 51-parameter net."""
    task = replace(dense_task((4, 4, 2, 2)), steps=steps + 10)
    begin, used = time.perf_counter(), time.process_time()
    found = training_spectrum(task, 51, warmup=10)
    return {
        "task": "5-layer Tiny, Adam, k = 51",
        "coordinates": found.dimension,
        "steps": steps,
        "seconds": round(time.perf_counter() - begin, 1),
        "processor_seconds": round(time.process_time() - used, 1),
        "asked": 60,
        "largest": round(found.maximum, 5),
        "smallest": round(float(found.exponents[-1]), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--spectrum", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in TASKS:
        rows += measure(name, getattr(torch, chosen.dtype), chosen.rounds)
        for row in rows[-2:]:
            print(
                f"{row['task']:24} k = {row['k']:2}  plain {row['plain_ms']:7.2f} ms, step with "
                f"tangents {row['step_ms']:8.2f} ms: {row['plain_steps_per_tangent']:5.2f} plain "
                f"steps a tangent (fastest rounds {row['of_fastest_rounds']:.2f}; asked: 2.5)"
            )
    if chosen.spectrum:
        rows.append(full_spectrum(chosen.spectrum))
        print("full spectrum:", rows[-1])
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
