"""The dense family of the study of dynamics, in one command, beside deep-lyapunov 0.1.2.

The work: ten dense nets on two circles, five base seeds each, seven copies nudged by 1 % beside
the unperturbed one, 20 epochs in batches of 32, a snapshot each epoch, all metrics. wingbeat
does it whole, as ``wingbeat study dynamics --family dense`` in a process of its own: its
start-up, an unperturbed twin for the noise floor, loss and accuracy on held-out points at each
epoch, tables and report are all in its time.

deep-lyapunov is measured on a part: one seed of ``--part`` nets. Nothing is added for what was
not measured but a multiplication: each net counts as the measured one next below it in size
(deep-lyapunov's time grows with the weights, so this is less than it would need), times the
number of seeds. It gets two logits for one, because it turns a bias of one element into NaN
and then cannot analyse the net; and it evaluates nothing. One thread each, by processor time, so
that other work on the machine does not matter; with ``--cores`` both take so many, deep-lyapunov
as threads of torch and wingbeat as processes, by the clock. ``--before`` names the
``src`` of an earlier checkout of wingbeat, which is then measured in the same rounds.

    python -m benchmarks.dense_family [--part 3] [--seeds 5] [--cores 1] [--rounds 1]
                                      [--before FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from deep_lyapunov import StabilityAnalyzer
from torch.utils.data import DataLoader, TensorDataset

from wingbeat.studies.dynamics.plan import REPLICAS
from wingbeat.studies.dynamics.trainings import TRAININGS
from wingbeat.tasks.architectures import ARCHITECTURES, Architecture
from wingbeat.tasks.data.sklearn import circles
from wingbeat.tasks.dense import mlp

EPOCHS, SAMPLES = TRAININGS["full"]["dense"].epochs, TRAININGS["full"]["dense"].samples
TRAJECTORIES = REPLICAS["dense"] + 1
NETS = sorted((a for a in ARCHITECTURES if a.family == "dense"), key=lambda a: a.parameters)


def ours(seeds: int, cores: int = 1, source: str | None = None) -> float:
    """Return the seconds of the whole family: start, training, metrics, tables, report."""
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    env = {**os.environ, **one_thread, **({"PYTHONPATH": source} if source else {})}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "wingbeat", "study", "dynamics", "--family", "dense"]
        command += ["--seeds", str(seeds), "--workers", str(cores)]
        command += ["--out", str(Path(folder) / "study")]
        begin, spent = time.perf_counter(), of_children()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
        wall = time.perf_counter() - begin
        return of_children() - spent if cores == 1 else wall


def of_children() -> float:
    """Return the processor seconds of all processes below this one that have ended.

    Those whose parent has ended, as the server of a study's workers, are waited for.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def adopt_orphans() -> None:
    """Become the parent of processes below this one that lose theirs (Linux)."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def theirs(net: Architecture, cores: int = 1, seed: int = 0) -> float:
    """Return the seconds that deep-lyapunov takes for one net and seed."""
    clock = time.process_time if cores == 1 else time.perf_counter
    loader = DataLoader(TensorDataset(*circles(SAMPLES)), batch_size=32, shuffle=True)
    adam = partial(torch.optim.Adam, lr=1e-2)

    def train(model: torch.nn.Module, batches: DataLoader[Any], epochs: int) -> dict[str, float]:
        optimizer = adam(model.parameters())
        model.train()
        for _ in range(epochs):
            for points, labels in batches:
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(points), labels)
                loss.backward()
                optimizer.step()
        return {"loss": loss.item()}

    torch.manual_seed(seed)
    model = mlp((2, *net.shape["hidden"], 2))
    analyzer = StabilityAnalyzer(
        model, perturbation_scale=0.01, n_trajectories=TRAJECTORIES, seed=seed, verbose=False
    )
    begin = clock()
    analyzer.analyze(train, loader, n_epochs=EPOCHS)
    return clock() - begin


def chosen(part: int) -> list[Architecture]:
    """Return that many nets, spread over the sizes; the smallest is always among them.

    The largest comes last: an eigendecomposition of 7,521² takes deep-lyapunov minutes.
    """
    most = len(NETS) - 1 if part == len(NETS) else len(NETS) - 2
    places = {round(i * most / max(1, part - 1)) for i in range(part)}
    return [NETS[place] for place in sorted(places)]


def extrapolated(measured: dict[str, float]) -> dict[str, float]:
    """Return seconds for each net: its own, or those of the measured one next below in size."""
    found: dict[str, float] = {}
    last = measured[NETS[0].name]
    for net in NETS:
        last = measured.get(net.name, last)
        found[net.name] = last
    return found


def measure(
    part: int, seeds: int, cores: int = 1, rounds: int = 1, before: str | None = None
) -> dict[str, Any]:
    """Time wingbeat on the whole and deep-lyapunov on the part in turn, and compare."""
    peer: list[dict[str, float]] = []
    mine: dict[str, list[float]] = {"now": [], **({"before": []} if before else {})}
    for _ in range(rounds):
        peer.append({net.name: theirs(net, cores) for net in chosen(part)})
        for name, seconds in mine.items():
            seconds.append(ours(seeds, cores, before if name == "before" else None))
    whole = [seeds * sum(extrapolated(measured).values()) for measured in peer]
    measured = {name: statistics.median(row[name] for row in peer) for name in peer[0]}
    each = extrapolated(measured)

    def ratio(name: str) -> float | None:
        pairs = list(zip(whole, mine.get(name, ()), strict=False))
        return round(statistics.median(a / b for a, b in pairs), 1) if pairs else None

    return {
        "work": f"{len(NETS)} nets x {seeds} seeds x {TRAJECTORIES - 1} nudged copies",
        "cores": cores,
        "wingbeat_seconds": {k: [round(t, 1) for t in v] for k, v in mine.items()},
        "deep_lyapunov_measured_seconds": {k: round(v, 2) for k, v in measured.items()},
        "deep_lyapunov_counted_seconds": {k: round(v, 2) for k, v in each.items()},
        "measured_part": f"{len(measured)} of {len(NETS) * seeds} analyses",
        "deep_lyapunov_extrapolated_seconds": [round(w, 1) for w in whole],
        "factor_of_extrapolation": round(seeds * sum(each.values()) / sum(measured.values()), 1),
        "ratio": ratio("now"),
        "ratio_before": ratio("before"),
    }


def show(row: dict[str, Any]) -> None:
    print(f"{row['work']}, {EPOCHS} epochs, {row['cores']} core(s)")
    for name, seconds in row["deep_lyapunov_counted_seconds"].items():
        how = (
            "measured"
            if name in row["deep_lyapunov_measured_seconds"]
            else "counted as the net above"
        )
        print(f"  deep-lyapunov, {name:<15} one seed {seconds:8.2f} s  ({how})")
    part, factor = row["measured_part"], row["factor_of_extrapolation"]
    print(f"  deep-lyapunov, measured {part}; times {factor} gives the whole family,")
    print(f"  extrapolated       {row['deep_lyapunov_extrapolated_seconds']} s")
    for name, seconds in row["wingbeat_seconds"].items():
        print(f"  wingbeat, {name:<6} {seconds} s")
    print(f"  ratio {row['ratio']}, before {row['ratio_before']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=int, default=3, choices=range(1, len(NETS) + 1))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--before", help="src folder of an earlier checkout")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    adopt_orphans()
    found = measure(options.part, options.seeds, options.cores, options.rounds, options.before)
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
