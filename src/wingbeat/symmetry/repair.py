"""Resetting the statistics of a merged model: the variance that averaging weights loses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wingbeat.errors import RequestError
from wingbeat.symmetry.export import Inputs, arguments
from wingbeat.symmetry.rescaled import RescaledLayer, layer_of

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of every channel over samples and places, float64 ``(C,)``."""

    mean: Tensor
    std: Tensor


def repair(
    model: nn.Module,
    merged: State,
    a: State,
    b: State,
    batches: Iterable[Inputs],
    *,
    alpha: float = 0.5,
) -> dict[str, Tensor]:
    """Return merged weights whose channels have the statistics of the two models in between.

    Between two aligned models the variance of activations collapses, to (1 + ρ)/2 at the middle
    for units with correlation ρ. Every linear and convolution layer with a bias, GPT-2's
    ``Conv1D`` among them, is rescaled and shifted per output channel so that mean and standard
    deviation of its output are ``(1 − alpha)`` times those in a plus ``alpha`` times those in b;
    the last layer of weights, with or without bias, is left: its output is the model's. Running
    statistics of batch norm are set to those of the merged model itself. Layers are treated in the
    order in which they run, each with all earlier ones already reset, over all data: the result is
    exact and does not depend on the order of the batches, at one pass over the data for each layer.

    Args:
        model: the module; not changed.
        merged: state dict to be repaired, for instance ``(1 − alpha) a + alpha P b``.
        a: state dict of the first model.
        b: state dict of the second one, aligned: ``p.apply(b)``.
        batches: inputs; they are kept in memory.
        alpha: the place of the merged model between a (0) and b (1).

    Returns:
        A new state dict.

    Raises:
        RequestError: there are no data, ``alpha`` is outside [0, 1], or a weight is made by a
            parametrization other than weight norm.

    Source: Jordan et al., "REPAIR" (2022), section 4, without its auxiliary batch norms: scale
    and shift go into the weights.
    """
    data = list(batches)
    if not data or not 0 <= alpha <= 1:
        raise RequestError(
            f"repair got {len(data)} batches and alpha={alpha}: give at least one batch, and "
            "alpha between 0 and 1"
        )
    order = _order(model, merged, data[0])
    layers = {name: layer_of(name, model.get_submodule(name)) for name in order}
    weighted = [layer for layer in layers.values() if layer is not None][:-1]
    rescaled = {layer.name: layer for layer in weighted if f"{layer.name}.bias" in merged}
    for layer in rescaled.values():
        layer.scale(merged)  # refuses what cannot be rescaled before anything is computed
    goals = [channel_statistics(model, state, data, list(rescaled)) for state in (a, b)]
    state = {name: tensor.detach().clone() for name, tensor in merged.items()}
    for name in order:
        module = model.get_submodule(name)
        if isinstance(module, _BatchNorm):
            _reset(state, name, channel_statistics(model, state, data, [name], inputs=True)[name])
        elif name in rescaled:
            found = channel_statistics(model, state, data, [name])[name]
            first, second = (goal[name] for goal in goals)
            _rescale(state, rescaled[name], found, _between(first, second, alpha))
    return state


def _between(
    first: ChannelStatistics, second: ChannelStatistics, alpha: float
) -> ChannelStatistics:
    return ChannelStatistics(
        (1 - alpha) * first.mean + alpha * second.mean,
        (1 - alpha) * first.std + alpha * second.std,
    )


def channel_statistics(
    model: nn.Module,
    state: State,
    batches: Sequence[Inputs],
    layers: Sequence[str],
    *,
    inputs: bool = False,
) -> dict[str, ChannelStatistics]:
    """Return mean and standard deviation per channel at the named layers, over all batches.

    Args:
        model: the module, run in evaluation mode with other weights; not changed.
        state: the weights.
        batches: inputs of the model.
        layers: names of modules.
        inputs: whether to look at what goes into them instead of what comes out.

    Returns:
        By layer; the channel is the last axis for a linear layer and GPT-2's ``Conv1D``, else
        axis 1.

    >>> net = nn.Sequential(nn.Linear(1, 1, bias=False))
    >>> weights = {"0.weight": torch.tensor([[2.0]])}
    >>> found = channel_statistics(net, weights, [torch.tensor([[-1.0], [1.0]])], ["0"])["0"]
    >>> found.mean.item(), found.std.item()
    (0.0, 2.0)
    """
    sums: dict[str, list[Tensor]] = {}

    def watch(name: str) -> Callable[..., None]:
        """Return a hook that adds what a layer takes or gives to its sums."""

        def hook(module: nn.Module, given: tuple[Any, ...], out: Any) -> None:
            """Add a batch, shifted by the first one's mean against cancellation."""
            tensor = (given[0] if inputs else out).detach().double()
            layer = layer_of(name, module)
            channel = tensor.dim() - 1 if layer is not None and layer.channel_last else 1
            values = tensor.movedim(channel, 0).flatten(1)
            if name not in sums:
                zero = torch.zeros(len(values), dtype=torch.float64)
                sums[name] = [values.mean(1), torch.zeros(()), zero, zero]
            shift, count, first, second = sums[name]
            values = values - shift[:, None]
            sums[name] = [
                shift,
                count + values.shape[1],
                first + values.sum(1),
                second + (values * values).sum(1),
            ]

        return hook

    _run(model, state, batches, {name: watch(name) for name in layers})
    found = {}
    for name, (shift, count, first, second) in sums.items():
        mean = first / count
        found[name] = ChannelStatistics(
            shift + mean, (second / count - mean * mean).clamp(min=0).sqrt()
        )
    return found


def _order(model: nn.Module, state: State, batch: Inputs) -> list[str]:
    """Return layers that can be reset, in the order in which they first run."""
    order: list[str] = []

    def note(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            if name not in order:
                order.append(name)

        return hook

    names = [
        name
        for name, module in model.named_modules()
        if layer_of(name, module) is not None or isinstance(module, _BatchNorm)
    ]
    _run(model, state, [batch], {name: note(name) for name in names})
    return order


def _run(
    model: nn.Module,
    state: State,
    batches: Sequence[Inputs],
    hooks: Mapping[str, Callable[..., None]],
) -> None:
    modes = {module: module.training for module in model.modules()}
    handles = [model.get_submodule(n).register_forward_hook(hook) for n, hook in hooks.items()]
    try:
        model.eval()
        with torch.no_grad():
            for batch in batches:
                args, kwargs = arguments(batch)
                torch.func.functional_call(
                    model, dict(state), args, kwargs, tie_weights=False, strict=False
                )
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


def _reset(state: dict[str, Tensor], name: str, found: ChannelStatistics) -> None:
    if f"{name}.running_mean" in state:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        state[f"{name}.running_mean"] = found.mean.to(mean)
        state[f"{name}.running_var"] = (found.std**2).to(variance)


def _rescale(
    state: dict[str, Tensor],
    layer: RescaledLayer,
    found: ChannelStatistics,
    goal: ChannelStatistics,
) -> None:
    """Put scale and shift per output channel into weight and bias; a dead channel only shifts."""
    scale = torch.where(found.std > 0, goal.std / found.std, torch.ones(()).double())
    bias = state[f"{layer.name}.bias"].double()
    layer.put(state, scale, (bias - found.mean) * scale + goal.mean)
