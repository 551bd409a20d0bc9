"""What takes minutes beside training: each work's processor time, the limit it has, the distance.

The limit of a work is what nobody can leave out, done by the fastest call there is for it on this
machine and in this process, right after the work itself (the best of ``--rounds``, one thread):

- a page: the hash, the encoding and the writing of its own bytes;
- weight matching: its assignments as SciPy solves them, its products at the pace of one large one;
- CKA: the forward passes, and the products of the centred activations;
- barriers: the forward passes of all points and the loss on each;
- a tangent: two plain steps, six products of matrices for three (in plain steps, not in time);
- checkpoints: reading the files, widening their numbers, and multiplying them, block by block.

    python -m benchmarks.minutes [--rounds 3] [--only TEXT] [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import wingbeat as wb
from benchmarks import barriers, checkpoints, tangent
from wingbeat.checkpoints import compare
from wingbeat.checkpoints.read_plan import quantum_of
from wingbeat.landscape import Probe, line
from wingbeat.lyapunov.maps.orthonormal import orthonormal_rows
from wingbeat.lyapunov.training.tangent import TangentStep
from wingbeat.measure import measure
from wingbeat.measure.builtin.cka import MINIBATCH, SAMPLES
from wingbeat.metrics.barrier import alpha_grid
from wingbeat.symmetry import descent, permutation_spec, terms, weight_matching
from wingbeat.task.step import TrainingStep
from wingbeat.tasks.data.sklearn import digits
from wingbeat.tasks.dense import circles_task, digits_mlp_task

Seconds = tuple[float, float]
"""Of the work, and its limit."""


def spent(act: Callable[[], object], times: int = 1) -> float:
    """Return the processor seconds of one call, over some."""
    begin = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - begin) / times


def page(folder: Path) -> Callable[[], Seconds]:
    """Write the page of a run of sixteen copies."""
    task = circles_task()
    found = wb.run(task, wb.Gaussian(0.01), replicas=16, record_every=task.steps_per_epoch)
    place, bare = folder / "page.html", folder / "bare.html"
    found.report(place)
    content = place.read_bytes()

    def least() -> None:
        hashlib.sha256(content).digest()
        b64encode(content)
        bare.write_bytes(content)

    return lambda: (spent(lambda: found.report(place)), spent(least))


def matching(_: Path) -> Callable[[], Seconds]:
    """Match two dense nets of three hidden layers of 1,024 units that are no copies."""

    def net(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        layers = [nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))

    one, other = net(1), net(2)
    spec = permutation_spec(one, torch.zeros(2, 784))
    a, b = one.state_dict(), other.state_dict()
    square = torch.randn(1024, 1024)
    pace = min(spent(lambda: square @ square, 5) for _ in range(3)) / (2 * 1024**3)

    def both() -> Seconds:
        with counted() as (assigning, products):
            whole = spent(lambda: weight_matching(a, b, spec, restarts=1))
        return whole, sum(assigning) + pace * sum(products)

    return both


@contextmanager
def counted() -> Iterator[tuple[list[float], list[float]]]:
    """Note the seconds of assignments, and the operations of products."""
    assigning: list[float] = []
    products: list[float] = []
    assign, table = descent.linear_sum_assignment, terms.WeightTerm.table

    def timed(*given: Any, **named: Any) -> Any:
        begin = time.process_time()
        found = assign(*given, **named)
        assigning.append(time.process_time() - begin)
        return found

    def noted(own: terms.WeightTerm, batch: Any, pairs: Any, order: Any) -> torch.Tensor:
        products.append(2.0 * own.a.numel() * float(np.prod([own.a.shape[d] for d in pairs])))
        return table(own, batch, pairs, order)

    with (
        patch.object(descent, "linear_sum_assignment", timed),
        patch.object(terms.WeightTerm, "table", noted),
    ):
        yield assigning, products


def similarity(_: Path) -> Callable[[], Seconds]:
    """Measure CKA of 48 copies of a dense net at one moment beside the start."""
    task = replace(digits_mlp_task(), steps=4)
    found = wb.run(task, wb.Gaussian(0.01), replicas=48, record_every=4, metrics="l2")
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    model = task.model().eval()
    data = task.data if task.eval_data is None else task.eval_data
    batches = [x[:MINIBATCH] for x in data[0][:SAMPLES].split(MINIBATCH)]
    seen: list[np.ndarray] = []
    layers = [m for m in model.modules() if not any(m.children())]
    for layer in layers:
        layer.register_forward_hook(lambda _m, _i, out: seen.append(out.detach().numpy()))
    with torch.no_grad():
        model(batches[0])
    plain = task.model().eval()
    wide = [x.reshape(len(x), -1).astype(np.float64) for x in seen]
    times = len(found.trajectory.steps) * len(found.labels) * len(batches)

    def least() -> None:
        with torch.no_grad():
            plain(batches[0])
        for x in wide:
            np.matmul(x, x.T)

    return lambda: (
        spent(lambda: measure(found.trajectory, task, ["cka"], None, step=step)),
        times * spent(least, 50),
    )


def all_pairs(_: Path) -> Callable[[], Seconds]:
    """Measure the barriers of all pairs of four dense nets of 590,000 weights."""
    job = next(job for job in barriers.JOBS if "512" in job.name)
    _, step, models = barriers.prepared(job)
    probe = Probe(step, batch_size=barriers.BATCH)
    (x, y), _ = digits()
    x, y = x[: barriers.SAMPLES].flatten(1), y[: barriers.SAMPLES]
    model = job.model().eval()
    points = len(list(combinations(range(barriers.MODELS), 2))) * len(alpha_grid())

    def least() -> None:
        with torch.no_grad():
            for batch, labels in zip(x.split(barriers.BATCH), y.split(barriers.BATCH), strict=True):
                F.cross_entropy(model(batch), labels)

    return lambda: (spent(lambda: line(probe, models).curve()), points * spent(least, 10))


def tangents(_: Path) -> Callable[[], Seconds]:
    """Push eight tangents through a step of a transformer; both numbers are in plain steps."""
    own = TangentStep(tangent.sentences_task(), torch.float32)
    state = own.start()
    for index in range(4):
        state, _ = own.plain(state, index)
    drawn = torch.randn(8, own.coordinates.size, generator=torch.Generator().manual_seed(8))
    rows = orthonormal_rows(drawn)[0]
    for _ in range(3):
        own(state, rows, 3)

    def both() -> Seconds:
        plain = min(spent(lambda: own.plain(state, 3), 5) for _ in range(3))
        full = min(spent(lambda: orthonormal_rows(own(state, rows, 3)[1])) for _ in range(5))
        return (full - plain) / 8 / plain, 2.0

    return both


def files(folder: Path) -> Callable[[], Seconds]:
    """Compare two checkpoints of 250 MB in bf16 that lie in the page cache."""
    places = [folder / "a", folder / "b"]
    found = [checkpoints.make(place, 250_000_000, i) for i, place in enumerate(places)]
    size = quantum_of(2)
    narrow = torch.randn(2, size).bfloat16()
    wide, out = torch.empty(2, size, dtype=torch.float64), torch.empty(2, 2, dtype=torch.float64)
    buffer = memoryview(bytearray(2 * size))

    def least() -> None:
        for path in (path for part in found for path in part):
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        for _ in range(sum(path.stat().st_size for path in found[0]) // (2 * size)):
            wide.copy_(narrow)
            torch.mm(wide, wide.T, out=out)

    least()
    return lambda: (spent(lambda: compare(places, check=False)), spent(least))


WORKS: dict[str, Callable[[Path], Callable[[], Seconds]]] = {
    "a page of sixteen copies": page,
    "weight matching, 784-1024-1024-1024-10": matching,
    "CKA of 48 copies, two moments": similarity,
    "barriers of all pairs of four nets": all_pairs,
    "a tangent of a transformer (plain steps)": tangents,
    "two checkpoints of 250 MB from the page cache": files,
}


def measured(name: str, rounds: int) -> dict[str, Any]:
    """Return a row: the smallest of some rounds, and the median of the rounds' own ratios."""
    with tempfile.TemporaryDirectory() as folder:
        both = WORKS[name](Path(folder))
        both()  # what a first call loads and records is no part of it
        found = [both() for _ in range(rounds)]
    return {
        "work": name,
        "time": min(own for own, _ in found),
        "limit": min(least for _, least in found),
        "distance": statistics.median(own / least for own, least in found),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="works whose name holds this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    print("| work | time | limit | distance |\n| --- | --- | --- | --- |")
    for name in WORKS:
        if options.only in name:
            row = measured(name, options.rounds)
            rows.append(row)
            print(
                f"| {name} | {row['time']:.3g} | {row['limit']:.3g} | {row['distance']:.3g} × |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
