"""Running statistics of batch normalisation, estimated anew for given weights.

Between two models the running mean and variance that training left behind belong to neither.
Here they are those of one forward pass over stated data as a single batch: each layer's mean and
(biased) variance over all samples, its input normalised by the layers before it in the same way.
They depend on the weights and on the set of samples only, not on order, batch size or momentum.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from wingbeat.errors import SHARED_NORMALISATION, UndefinedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from wingbeat.landscape.data import Portions
    from wingbeat.task.data import Batch
    from wingbeat.task.task import Task

    Found = dict[str, Tensor]
    Apply = Callable[[Callable[[nn.Module, Batch], Found], Batch], Found]


def tracked(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the layers whose running statistics can be estimated anew.

    These are torch's batch normalisations with ``track_running_stats``. Any other buffer of
    floating-point numbers is interpolated like a weight.

    >>> tracked(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.LayerNorm(3)))
    ('1',)
    """
    return tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    )


class Normaliser:
    """Estimates running statistics on stated data.

    Args:
        task: gives the forward pass, which is that of its loss.
        data: the samples that the statistics are over.
        names: the layers, in the order of their execution.
        whole: whether all samples go through in one batch. Otherwise the layers are estimated
            one after the other, each with a pass over the batches that ends at the layer; the
            result is the same up to rounding, in less memory.
    """

    def __init__(self, task: Task, data: Portions, names: Sequence[str], *, whole: bool) -> None:
        self.task, self.data, self.names, self.whole = task, data, tuple(names), whole
        self._batch = data.whole if whole else None

    def __call__(self, apply: Apply, buffers: Found) -> Found:
        """Return the buffers with statistics estimated anew.

        Args:
            apply: runs ``function(model, batch)`` with the weights in question and the buffers
                that this dictionary holds at the time, perhaps for a stack of models at once.
            buffers: by name; changed in place.
        """
        if self.whole:
            found = apply(self._through, self._batch)
            buffers.update(_cast(found, buffers))
            return buffers
        for name in self.names:
            parts = [apply(partial(self._until, name), batch) for batch in self.data.batches]
            buffers.update(_cast(_merged(name, parts), buffers))
        return buffers

    def _through(self, model: nn.Module, batch: Batch) -> Found:
        with Watch(model, self.names) as watch:
            self.task.loss(model, batch)
        return watch.statistics

    def _until(self, name: str, model: nn.Module, batch: Batch) -> Found:
        # What comes after the layer is not needed yet.
        with Watch(model, [name], stop=True) as watch, contextlib.suppress(ReachedError):
            self.task.loss(model, batch)
        return watch.statistics


class ReachedError(Exception):
    """Ends a forward pass whose rest is not needed."""


class Watch:
    """Hooks on normalisation layers that take the statistics of their inputs.

    Args:
        model: in eval mode, as it stands inside a functional call.
        names: which layers.
        stop: end the pass at the first of them.

    Attributes:
        order: the layers in the order in which they ran.
        statistics: mean, biased variance and count of values of each layer's input, by the names
            of the buffers (and ``<layer>.count``).
    """

    def __init__(self, model: nn.Module, names: Sequence[str], *, stop: bool = False) -> None:
        self.model, self.names, self.stop = model, names, stop
        self.order: list[str] = []
        self.statistics: Found = {}
        self._hooks: list[Any] = []
        self._before: dict[str, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> Watch:
        for name in self.names:
            module = self.model.get_submodule(name)
            self._hooks.append(module.register_forward_pre_hook(self._hook(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        for name, (mean, variance) in self._before.items():
            module: Any = self.model.get_submodule(name)
            module.running_mean, module.running_var = mean, variance

    def _hook(self, name: str) -> Callable[[Any, Any], None]:
        def take(module: Any, inputs: Any) -> None:
            """Put the statistics of this batch in the layer's place, and keep its own."""
            x: Tensor = inputs[0]
            mean, variance = moments(x)
            self.order.append(name)
            self._before.setdefault(name, (module.running_mean, module.running_var))
            module.running_mean, module.running_var = mean, variance
            count = torch.tensor(float(x.numel() // x.shape[1]), dtype=torch.float64)
            self.statistics[f"{name}.running_mean"] = mean
            self.statistics[f"{name}.running_var"] = variance
            self.statistics[f"{name}.count"] = count.to(x.device)
            if self.stop:
                raise ReachedError

        return take


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each channel, (C,), of (samples, C, …).

    Two passes, places first and samples second: four times as fast as ``torch.var_mean`` over
    both axes at once, and as exact.

    >>> [t.tolist() for t in moments(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))]
    [[2.0, 5.0], [1.0, 0.0]]
    """
    flat = x.flatten(2) if x.dim() > 2 else x.unsqueeze(2)
    mean = flat.mean(dim=2).mean(dim=0)
    away = flat - mean.unsqueeze(1)
    return mean, (away * away).mean(dim=2).mean(dim=0)


def executed(task: Task, model: nn.Module, batch: Batch) -> tuple[str, ...]:
    """Return the tracked layers in the order in which the task's loss runs them.

    To be called within a functional call, like the estimation itself.

    Raises:
        UndefinedError: a layer runs more than once, so that it has no single set of statistics.
    """
    with Watch(model, tracked(model)) as watch:
        task.loss(model, batch)
    twice = sorted({name for name in watch.order if watch.order.count(name) > 1})
    if twice:
        raise UndefinedError(
            f"normalisation layer {twice[0]!r} runs {watch.order.count(twice[0])} times in one "
            "evaluation of the loss: its statistics over the data are not defined; use "
            "statistics='interpolated'",
            SHARED_NORMALISATION,
        )
    return tuple(watch.order)


def _merged(name: str, parts: Sequence[Found]) -> Found:
    """Join the statistics of batches to those of all samples, in float64."""
    counts = torch.stack([p[f"{name}.count"].flatten()[0] for p in parts]).double()
    means = torch.stack([p[f"{name}.running_mean"] for p in parts]).double()
    variances = torch.stack([p[f"{name}.running_var"] for p in parts]).double()
    share = (counts / counts.sum()).reshape(-1, *[1] * (means.dim() - 1))
    mean = (share * means).sum(dim=0)
    variance = (share * (variances + (means - mean) ** 2)).sum(dim=0)
    return {f"{name}.running_mean": mean, f"{name}.running_var": variance}


def _cast(found: Found, buffers: Found) -> Found:
    return {k: t.to(buffers[k].dtype) for k, t in found.items() if k in buffers}
