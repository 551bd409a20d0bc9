"""Small tasks for the tests of run, measure, trajectory and faults."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import nn

import wingbeat as wb
from wingbeat.execution.result import Result


@functools.cache
def points(samples=70, seed=0):
    """Four features, three classes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, 4, generator=generator)
    return x, (x[:, 0] > 0).long() + (x[:, 1] * x[:, 2] > 0).long()


def noisy_net():
    """A net with everything that must travel with a replica: buffers, dropout, a lone bias."""
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 3)
    )


def plain_net():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def line():
    return nn.Linear(4, 1)


def entropy(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def squares(model, batch):
    return ((model(batch[0])[:, 0] - batch[1]) ** 2).mean()


def momentum(params):
    return torch.optim.SGD(params, lr=0.1, momentum=0.9)


def plain_sgd(params):
    return torch.optim.SGD(params, lr=0.1)


def adam(params):
    return torch.optim.Adam(params, lr=0.01)


def noisy(**changes):
    """Dropout, BatchNorm and momentum on 70 samples, batches of 16: 5 steps an epoch."""
    x, y = points()
    task = wb.Task(
        model=noisy_net,
        loss=entropy,
        data=(x, y),
        optimizer=momentum,
        batch_size=16,
        steps=24,
        eval_data=points(50, 1),
        eval_batch_size=16,
    )
    return replace(task, **changes)


def plain(**changes):
    """A small net without noise of its own."""
    return noisy(**{"model": plain_net, "eval_data": None, "steps": 20, **changes})


def two_forks(scale=0.01, at=9):
    return [wb.Gaussian(scale), wb.BatchGradient(scale, at=at)]


def weights_of(result: Result, seed=None):
    """Return ``{step: (labels, {name: float64 (replicas, numbers)})}`` of every snapshot."""
    trajectory = result.trajectory if seed is None else result.trajectories[seed]
    return {
        s.step: (
            s.labels,
            {k: t.double().reshape(len(t), -1).numpy() for k, t in s.params.items()},
        )
        for s in trajectory
    }


def whole(tensors):
    """Join the tensors of one snapshot to (replicas, P) in float64."""
    return torch.cat([torch.from_numpy(t) for t in tensors.values()], dim=1).numpy()


def rows(result, **where):
    """Return the rows of the table that match all columns."""
    found = result.table
    for column, value in where.items():
        found = found[found[column] == value]
    return found


def value(result, **where):
    found = rows(result, **where)
    assert len(found) == 1, f"{len(found)} rows for {where}"
    return float(found.value.iloc[0])


def contents(folder):
    """Return every lasting file of a run folder by relative path, as bytes."""
    skipped = {"environment.json", ".lock"}
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in skipped and p.parent.name != "state"
    }
