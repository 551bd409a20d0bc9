"""From an optimizer object of ``torch.optim`` to its pure form, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from inspect import signature
from typing import Any, Final

import torch
from torch import Tensor

from wingbeat.errors import DriverError, RequestError
from wingbeat.task.optimizers.grouped import Grouped, ParameterGroup
from wingbeat.task.optimizers.pure import PureOptimizer
from wingbeat.task.optimizers.registry import form_of
from wingbeat.task.optimizers.resumed import taken

IGNORED: Final = frozenset({"foreach", "fused", "capturable"})
"""Options that say how torch executes the same step."""


def pure_optimizer(
    optimizer: torch.optim.Optimizer,
    places: Sequence[slice] | None = None,
    *,
    smooth: bool = False,
) -> PureOptimizer:
    """Return the pure form of an optimizer, as many steps on as it has taken.

    ``foreach``, ``fused`` and ``capturable`` are ignored; options given as tensors
    become numbers; entries of a group that torch's own step does not read, as
    ``initial_lr``, have no effect here either.

    Args:
        optimizer: Of a class with a pure form: of ``torch.optim`` SGD, Adam, AdamW, RMSprop,
            Adagrad, NAdam and RAdam, and whatever `pure_form` declares.
        places: For each of ``optimizer.param_groups`` the slice of the flat vector
            that it moves; together they cover it. Default: one after the other, each
            as long as its parameters that require a gradient.
        smooth: Give the square root a derivative where it is exactly 0; see :func:`root`.

    Raises:
        DriverError: There is no pure form; names the class and the option.
        RequestError: The places do not cover the vector.

    >>> weights = [torch.nn.Parameter(torch.zeros(3))]
    >>> pure_optimizer(torch.optim.SGD(weights, lr=0.1, momentum=0.9)).slots()
    ('momentum_buffer',)
    """
    _refuse_changed(optimizer)
    if places is None:
        places = _places(optimizer.param_groups)
    if len(places) != len(optimizer.param_groups):
        msg = f"{len(places)} places for {len(optimizer.param_groups)} parameter groups"
        raise RequestError(msg)
    pairs = sorted(zip(places, optimizer.param_groups, strict=True), key=lambda pair: pair[0].start)
    _check_cover([place for place, _ in pairs])
    groups = tuple(
        ParameterGroup(place, _rule(optimizer, options, smooth))
        for place, options in pairs
        if place.stop > place.start
    )
    return groups[0].rule if len(groups) == 1 else Grouped(groups)


def _places(groups: Sequence[Mapping[str, Any]]) -> list[slice]:
    places, first = [], 0
    for group in groups:
        last = first + sum(p.numel() for p in group["params"] if p.requires_grad)
        places.append(slice(first, last))
        first = last
    return places


def _check_cover(places: Sequence[slice]) -> None:
    end = 0
    for place in places:
        if place.start != end or place.stop < place.start or place.step not in (None, 1):
            msg = f"parameter groups must cover the flat vector without gap: {places}"
            raise RequestError(msg)
        end = place.stop
    if end == 0:
        msg = "the optimizer has no parameter that requires a gradient"
        raise RequestError(msg)


def _refuse_changed(optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer whose step is not, or not only, that of its torch class."""
    kind = type(optimizer)
    name = kind.__name__
    if form_of(kind) is None:
        msg = f"{name}: no pure form of {kind.__module__}.{kind.__qualname__}"
        raise DriverError(msg)
    # A learning-rate scheduler wraps the step of its optimizer only to count.
    own_step = vars(optimizer).get("step")
    if own_step is not None and not hasattr(own_step, "_wrapped_by_lr_sched"):
        msg = f"{name}: its step method has been replaced"
        raise DriverError(msg)
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        msg = f"{name}: it has step hooks, which the pure form could not call"
        raise DriverError(msg)
    if any(p.is_complex() for group in optimizer.param_groups for p in group["params"]):
        msg = f"{name}: complex parameters have no pure form"
        raise DriverError(msg)


def _rule(
    optimizer: torch.optim.Optimizer, options: Mapping[str, Any], smooth: bool
) -> PureOptimizer:
    """Build the rule of one group from the options that torch keeps for it."""
    form = form_of(type(optimizer))
    assert form is not None  # or it was refused
    known = {field.name for field in fields(form)}
    _refuse_options(optimizer, options, known)
    chosen = {name: _number(options[name]) for name in known if name in options}
    chosen["taken"] = taken(form, optimizer, options)
    chosen |= form.settings(optimizer, options, chosen["taken"])
    if "smooth" in known:
        chosen["smooth"] = smooth
    return form(**chosen)


def _refuse_options(
    optimizer: torch.optim.Optimizer, options: Mapping[str, Any], known: set[str]
) -> None:
    name = type(optimizer).__name__
    if options.get("differentiable"):
        msg = f"{name}: differentiable=True has no pure form"
        raise DriverError(msg)
    usual = signature(type(optimizer)).parameters
    for option in optimizer.defaults.keys() - known - IGNORED - {"differentiable"}:
        value = options[option]
        if option not in usual or value != usual[option].default:
            msg = f"{name}: the option {option}={value!r} has no pure form"
            raise DriverError(msg)


def _number(value: Any) -> Any:
    """Return an option with tensors replaced by their numbers."""
    if isinstance(value, Tensor):
        return value.item()
    return tuple(map(_number, value)) if isinstance(value, tuple | list) else value
