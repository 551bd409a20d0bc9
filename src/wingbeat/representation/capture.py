"""Activations of named layers, taken by forward hooks while a model runs on a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard, get_args

import torch
from torch import nn
from torch.utils import _pytree as pytree

from wingbeat.errors import RequestError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.data import Batch

Positions = Literal["flatten", "mean", "last"]
_UNCHANGED: Final = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
"""Modules that in eval mode give what they were given, in another shape at most."""


def as_features(activation: Tensor, positions: Positions = "flatten") -> Tensor:
    """Return an activation as a matrix (samples, features).

    Args:
        activation: (samples, …). Three axes are read as (samples, positions, features), as
            transformers have them; four or more as (samples, channels, places …), as
            convolutions have them.
        positions: what becomes of positions and places. "flatten" keeps every number as a feature
            of its own; "mean" averages over them; "last" takes the last position of three axes
            (the last token: padding, where sequences are padded on the right) and flattens four
            or more, which have no order.

    Returns:
        (samples, features); a single number for each sample becomes one feature.

    Raises:
        RequestError: an unknown word, or no sample axis.

    >>> image = torch.zeros(5, 3, 4, 4)
    >>> as_features(image).shape, as_features(image, "mean").shape
    (torch.Size([5, 48]), torch.Size([5, 3]))
    """
    if positions not in get_args(Positions):
        raise RequestError(f"positions is {positions!r}: use one of {get_args(Positions)}")
    axes = activation.dim()
    if axes == 0:
        raise RequestError("the activation is a single number: give (samples, …)")
    if positions == "mean" and axes > 2:
        activation = activation.mean(dim=1) if axes == 3 else activation.flatten(2).mean(dim=2)
    elif positions == "last" and axes == 3:
        activation = activation[:, -1]
    return activation.reshape(len(activation), -1)


def default_layers(model: nn.Module) -> tuple[str, ...]:
    """Return the names of all modules without children, in the model's order.

    Those that in eval mode only hand on what they are given (identity, flatten, dropout) are left
    out.

    >>> default_layers(nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.Linear(3, 1)))
    ('0', '2')
    """
    return tuple(
        name
        for name, module in model.named_modules()
        if name and not isinstance(module, _UNCHANGED) and not any(module.children())
    )


def check_layers(model: nn.Module, layers: Sequence[str]) -> tuple[str, ...]:
    """Return layer names that a model has.

    Args:
        model: whose modules.
        layers: names as in ``model.named_modules()``; ``name#2`` is the second call of a module
            that runs several times in one pass.

    Raises:
        RequestError: there is none, one is given twice, or one does not exist; the message
            suggests the nearest.

    >>> check_layers(nn.Sequential(nn.Linear(2, 3)), ["0"])
    ('0',)
    """
    if isinstance(layers, str) or not layers:
        raise RequestError(f"layers is {layers!r}: give a list of names, such as ['fc']")
    known = [name for name, _ in model.named_modules() if name]
    for name in layers:
        stem, _, call = str(name).partition("#")
        if stem not in known or (call and not call.isdecimal()):
            raise RequestError(f"the model has no layer {name!r}: {nearest(stem, known)}")
    twice = [name for name, count in Counter(layers).items() if count > 1]
    if twice:
        raise RequestError(f"layer {twice[0]!r} is given twice: name each layer once")
    return tuple(layers)


@dataclass(frozen=True)
class Recorder:
    """A function ``(model, batch) -> {layer: features}`` for ``TrainingStep.evaluate`` and kin.

    It runs a loss, which calls the model however the task does, and notes what the named modules
    give. Forward hooks see the tensors of ``torch.func.functional_call``, so that one module
    serves all replicas.

    Args:
        loss: ``(model, batch) -> anything``, as ``Task.loss``; its value is not used.
        layers: names that were checked; None for all of `default_layers` that give (samples, …).
            A module that runs several times gives ``name``, ``name#2``, ….
        positions: as in `as_features`.
        axes: for each layer which of its axes counts samples, as `sample_axes` finds it; None
            where no axis does. Without it the first one, which in recurrent layers may be time.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    >>> found = Recorder(lambda model, batch: model(batch))(net, torch.zeros(4, 2))
    >>> {name: tuple(x.shape) for name, x in found.items()}
    {'0': (4, 3), '1': (4, 3)}
    """

    loss: Callable[[nn.Module, Batch], Any]
    layers: tuple[str, ...] | None = None
    positions: Positions = "flatten"
    axes: Mapping[str, int | None] | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the features (samples, features) of each layer, in the order of ``layers``.

        Raises:
            RequestError: a named layer did not run, or gives no tensor with a sample axis.
        """
        raw = self._seen(model, batch)
        if self.layers is None:
            samples = _samples(batch)
            found = {k: x for k, x in raw.items() if _usable(x, samples)}
            if not found:
                raise RequestError("no layer gives one activation a sample: name the layers")
        else:
            found = {name: self._named(name, raw, batch) for name in self.layers}
        return found

    def _named(self, name: str, raw: dict[str, Tensor | None], batch: Batch) -> Tensor:
        if name not in raw:
            raise RequestError(
                f"layer {name!r} did not run: {nearest(name, raw)}; name one that the loss calls"
            )
        x = raw[name]
        if not _usable(x, _samples(batch)):
            given = "no tensor with an axis of samples" if x is None else f"{len(x)} rows"
            raise RequestError(
                f"layer {name!r} gives {given}, not one activation a sample: name another layer"
            )
        return x

    def shapes(self, model: nn.Module, batch: Batch) -> dict[str, tuple[int, ...]]:
        """Return the shape of what each layer gives, of those that give numbers."""
        return {
            name: tuple(x.shape)
            for name, x in self._given(model, batch, lambda _, leaf: leaf).items()
            if x is not None
        }

    def _features(self, name: str, activation: Tensor) -> Tensor | None:
        """Return an activation as features; None where none of its axes counts samples."""
        axis = 0 if self.axes is None else self.axes.get(name)
        if axis is None:
            return None
        # A copy: the next module may work in place.
        return as_features(activation.movedim(axis, 0), self.positions).clone()

    def _seen(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | None]:
        return self._given(model, batch, self._features)

    def _watched(self, model: nn.Module) -> tuple[str, ...]:
        """Return the modules to look at; those without an axis of samples give no features."""
        if self.layers is not None:
            return _stems(self.layers)
        return default_layers(model) if self.axes is None else _stems(self.axes)

    def _given(
        self, model: nn.Module, batch: Batch, read: Callable[[str, Tensor], Tensor | None]
    ) -> dict[str, Tensor | None]:
        """Run the loss and return what is read off the first tensor of numbers of each layer."""
        stems = self._watched(model)
        seen: dict[str, Tensor | None] = {}

        def keep(stem: str) -> Callable[..., None]:
            """Return a hook that keeps the features of every call of a layer."""

            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                calls = 1
                while _call(stem, calls) in seen:
                    calls += 1
                name, leaf = _call(stem, calls), _first(output)
                seen[name] = None if leaf is None else read(name, leaf)

            return hook

        hooks = [model.get_submodule(stem).register_forward_hook(keep(stem)) for stem in stems]
        try:
            self.loss(model, batch)
        finally:
            for hook in hooks:
                hook.remove()
        return seen


def sample_axes(
    few: Mapping[str, tuple[int, ...]], fewer: Mapping[str, tuple[int, ...]], count: int
) -> dict[str, int | None]:
    """Return for each layer the axis that counts samples: the one that shrinks with the batch.

    Args:
        few: shapes of the layers on some samples, from `Recorder.shapes`.
        fewer: the same on one sample less.
        count: samples of the first.

    Returns:
        The axis by layer; None where not exactly one axis had as many entries both times.

    >>> sample_axes({"rnn": (4, 4, 8), "pe": (4, 8)}, {"rnn": (4, 3, 8), "pe": (4, 8)}, 4)
    {'rnn': 1, 'pe': None}
    """
    found: dict[str, int | None] = {}
    for name, shape in few.items():
        other = fewer.get(name, ())
        sizes = zip(shape, other, strict=False)
        places = [d for d, pair in enumerate(sizes) if pair == (count, count - 1)]
        found[name] = places[0] if len(places) == 1 and len(other) == len(shape) else None
    return found


def _first(output: Any) -> Tensor | None:
    """Return the first floating-point tensor of an output, None without one."""
    for leaf in pytree.tree_leaves(output):
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.dim():
            return leaf.detach()
    return None


def _stems(layers: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.partition("#")[0] for name in layers))


def _call(name: str, count: int) -> str:
    return name if count == 1 else f"{name}#{count}"


def _samples(batch: Batch) -> int | None:
    """Return the number of samples in a batch, None where it does not tell."""
    sizes = [len(t) for t in pytree.tree_leaves(batch) if isinstance(t, torch.Tensor) and t.dim()]
    return sizes[0] if sizes else None


def _usable(x: Tensor | None, samples: int | None) -> TypeGuard[Tensor]:
    return x is not None and x.numel() > 0 and samples in (None, len(x))
