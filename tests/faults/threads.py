"""Runs in threads of one process against the same runs one after the other, bit for bit."""

from __future__ import annotations

import random
import threading

import numpy as np
import torch

import wingbeat as wb

DROPOUT = 0.3


def task(seed):
    """A net with dropout, momentum and a shuffled order: it draws from every stream."""
    drawn = torch.Generator().manual_seed(7)
    x = torch.randn(24, 3, generator=drawn)
    return wb.Task(
        model=lambda: torch.nn.Sequential(
            torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Dropout(DROPOUT), torch.nn.Linear(5, 1)
        ),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        data=(x, x.sum(1, keepdim=True)),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9),
        batch_size=8,
        steps=6,
        seed=seed,
    )


def run(seed):
    """Return the bytes of the table and of the last weights of one run."""
    found = wb.run(
        task(seed), wb.Gaussian(0.1), replicas=2, record_every=2, driver="loop", metrics=["l2"]
    )
    weights = found.trajectory.at(6).params
    return found.table.to_json(), {k: np.asarray(v).tobytes() for k, v in weights.items()}


def alone(seeds):
    return {seed: run(seed) for seed in seeds}


def together(seeds, width=4):
    """Run in threads, ``width`` at a time; return the results, and the exceptions that came out."""
    found, failed, waiting, lock = {}, [], list(seeds), threading.Lock()

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                seed = waiting.pop()
            try:
                found[seed] = run(seed)
            except Exception as error:
                failed.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work) for _ in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, failed


def switches():
    """Return what of the process a run must leave as it was."""
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.mkldnn.enabled,
        torch.get_default_dtype(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        np.random.get_state()[1].tobytes(),  # noqa: NPY002
    )
