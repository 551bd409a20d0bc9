"""Resetting the statistics of a merged model: the variance that averaging weights loses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from wingbeat.errors import RequestError
from wingbeat.symmetry.export import Inputs, arguments

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
    for units with correlation ρ. Every linear and convolution layer with a bias, but the last,
    is rescaled and shifted per output channel so that mean and standard deviation of its output
    are ``(1 − alpha)`` times those in a plus ``alpha`` times those in b. Running statistics of
    batch norm are set to those of the merged model itself. Layers are treated in the order in
    which they run, each with all earlier ones already reset, over all data: the result is exact
    and does not depend on the order of the batches, at one pass over the data for each layer.

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
        RequestError: there are no data, or ``alpha`` is outside [0, 1].

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
    rescaled = [name for name in order if _rescales(model.get_submodule(name))][:-1]
    goals = [channel_statistics(model, state, data, rescaled) for state in (a, b)]
    state = {name: tensor.detach().clone() for name, tensor in merged.items()}
    for name in order:
        module = model.get_submodule(name)
        if isinstance(module, _BatchNorm):
            _reset(state, name, channel_statistics(model, state, data, [name], inputs=True)[name])
        elif name in rescaled:
            found = channel_statistics(model, state, data, [name])[name]
            first, second = (goal[name] for goal in goals)
            goal = ChannelStatistics(
                (1 - alpha) * first.mean + alpha * second.mean,
                (1 - alpha) * first.std + alpha * second.std,
            )
            _rescale(state, name, module, found, goal)
    return state


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
        By layer; the channel is the last axis for a linear layer, else axis 1.

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
            channel = tensor.dim() - 1 if isinstance(module, nn.Linear) else 1
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

    names = [name for name, m in model.named_modules() if _rescales(m) or isinstance(m, _BatchNorm)]
    _run(model, state, [batch], {name: note(name) for name in names})
    return order


def _rescales(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, _ConvNd)) and module.bias is not None


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
    name: str,
    module: nn.Module,
    found: ChannelStatistics,
    goal: ChannelStatistics,
) -> None:
    """Put scale and shift per output channel into weight and bias; a dead channel only shifts."""
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    scale = torch.where(found.std > 0, goal.std / found.std, torch.ones(()).double())
    if isinstance(module, _ConvTransposeNd):
        by_channel = scale.reshape(module.groups, 1, -1)
        lead = weight.double().reshape(module.groups, -1, *weight.shape[1:])
        scaled = lead * by_channel.reshape(*by_channel.shape, *[1] * (weight.dim() - 2))
        state[f"{name}.weight"] = scaled.reshape(weight.shape).to(weight)
    else:
        shape = (-1, *[1] * (weight.dim() - 1))
        state[f"{name}.weight"] = (weight.double() * scale.reshape(shape)).to(weight)
    state[f"{name}.bias"] = ((bias.double() - found.mean) * scale + goal.mean).to(bias)
