"""Stacks of models and slow evaluations for the tests of the landscape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from cases import task as case
from torch import nn

from wingbeat.landscape import Models
from wingbeat.metrics.barrier import alpha_grid
from wingbeat.task.step import TrainingStep
from wingbeat.task.task import Task


class Well(nn.Module):
    """One parameter, whose loss is a double well."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.theta * x


def well_loss(model, batch):
    return ((model(batch[0]) ** 2 - 1) ** 2).mean() / 4


def well(**changes) -> Task:
    task = Task(
        model=Well,
        loss=well_loss,
        data=(torch.ones(30),),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=5,
        steps=1,
    )
    return replace(task, **changes)


def thetas(*values, dtype=torch.float64):
    labels = tuple(f"m{i}" for i in range(len(values)))
    return Models(labels, torch.tensor(values, dtype=dtype).reshape(-1, 1), {})


def step_of(task, dtype=torch.float64):
    return TrainingStep(task, dtype, torch.device("cpu"))


def problem(name):
    """Return a task of the table with evaluation data, and its step in float64."""
    made = case(name)
    made = replace(made, eval_data=tuple(t[:37] for t in made.data))
    return made, step_of(made)


def models_of(step, count=3, scale=1.0):
    """Return models with different initialisation and different running statistics."""
    states = [step.start(seed) for seed in range(count)]
    generator = torch.Generator().manual_seed(3)
    buffers = {}
    for name, first in states[0].buffers.items():
        rows = torch.stack([first] * count)
        noise = torch.rand(rows.shape, generator=generator, dtype=torch.float64)
        buffers[name] = rows + noise.to(rows.dtype) if rows.is_floating_point() else rows
    labels = tuple(f"m{i}" for i in range(count))
    return Models(labels, scale * torch.stack([s.params for s in states]), buffers)


def module_at(step, models, row):
    """Return the task's own module with interpolated weights and buffers, in eval mode."""
    model = step.build(0)
    params = sum(float(c) * p for c, p in zip(row, models.params, strict=True))
    values = dict(step.layout.unflatten(params))
    for name, stack in models.buffers.items():
        if stack.is_floating_point():
            values[name] = sum(float(c) * b for c, b in zip(row, stack, strict=True))
    model.load_state_dict({**model.state_dict(), **values})
    return model.eval()


def renormalised(model, x):
    """Give every batch normalisation the statistics of one pass over all samples."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:  # layer after layer, each with the layers before it already in place
        seen = []
        hook = norm.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            model(x)
        hook.remove()
        values = seen[0].double().transpose(0, 1).flatten(1).numpy()
        with torch.no_grad():
            norm.running_mean.copy_(torch.from_numpy(values.mean(axis=1)))
            norm.running_var.copy_(torch.from_numpy(values.var(axis=1)))
    return model


def slow_line(task, step, models, pair, *, exact=True, points=25):
    """Return loss and error on all training data along one line, point by point."""
    losses, errors = [], []
    for alpha in alpha_grid(points):
        row = np.zeros(len(models))
        row[pair[0]] += 1 - alpha
        row[pair[1]] += alpha
        model = module_at(step, models, row)
        data = tuple(t.double() if t.is_floating_point() else t for t in task.data)
        if exact:
            renormalised(model, data[0])
        with torch.no_grad():
            losses.append(float(task.loss(model, data)))
            if not data[1].is_floating_point():
                errors.append(float((model(data[0]).argmax(1) != data[1]).double().mean()))
    return np.array(losses), np.array(errors)
