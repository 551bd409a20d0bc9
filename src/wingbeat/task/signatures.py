"""What a task's functions take, told by their signatures; refused where it cannot be told."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from wingbeat.errors import RequestError
from wingbeat.unneeded_compiler import unneeded_compiler

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.optim import Optimizer

STEP_NAMES = frozenset(("step", "global_step", "iteration", "update"))
"""What the argument that gets the number of the update may be called; a ``t`` may be a target."""
_MODEL_NAMES = frozenset(("model", "module", "net", "network"))
_REQUIRED = inspect.Parameter.empty
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class AtStep:
    """A loss that wants the number of the update: called without it, it gets the last one.

    Training passes the number; whatever else evaluates a loss means the one that training ends
    with.

    Attributes:
        loss: ``(model, batch, step)``.
        name: of its third argument.
        last: number of the last update.
    """

    loss: Callable[..., Tensor]
    name: str
    last: int

    def __call__(self, model: nn.Module, batch: Any, step: Any = None) -> Tensor:
        """Return the loss at an update."""
        return self.loss(model, batch, **{self.name: self.last if step is None else step})


def with_step(loss: Any, last: int) -> Any:
    """Return a loss that can be called as ``loss(model, batch)``.

    Args:
        loss: ``(model, batch)`` or ``(model, batch, step)``.
        last: number of the last update.

    Returns:
        The loss as it is, or an `AtStep` of it where it takes a step.

    Raises:
        RequestError: it takes something else, or it cannot be told which of the two it is.

    >>> loss = with_step(lambda model, batch, step: step, last=9)
    >>> loss(None, None), loss(None, None, 3)
    (9, 3)
    >>> with_step(lambda model, batch, gamma=2.0: gamma, last=9)(None, None)
    2.0
    """
    if isinstance(loss, AtStep):
        loss = loss.loss
    name = _step_of(loss)
    return AtStep(loss, name, last) if name else loss


def _step_of(loss: Any) -> str:
    found = _parameters(loss)
    if found is None:
        return ""
    needed = [p for p in found if p.default is _REQUIRED and _is_single(p)]
    third = [p for p in found[2:] if p.name == "step" and p.default is not _REQUIRED]
    if third:
        raise RequestError(
            f"Task.loss takes step={third[0].default!r} by default, so that it cannot be told "
            "whether it wants the number of the update: write loss(model, batch, step) to receive "
            "it, or call the argument something else"
        )
    if len(needed) <= 2:
        return ""
    extra = needed[2:]
    if len(extra) > 1 or extra[0].name not in STEP_NAMES or extra[0].kind == _BY_PLACE[0]:
        names = ", ".join(p.name for p in found)
        raise RequestError(
            f"Task.loss takes ({names}): write loss(model, batch), where the batch is whatever the "
            "data give, or loss(model, batch, step) for one that depends on the number of the "
            "update"
        )
    return extra[0].name


def _is_single(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (*_BY_PLACE, inspect.Parameter.KEYWORD_ONLY)


def _parameters(function: Any) -> list[inspect.Parameter] | None:
    target = function.forward if isinstance(function, nn.Module) else function
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature, or no function
        return None


def check_after_step(function: Any) -> None:
    """Refuse an ``after_step`` that cannot be called as ``after_step(model, step)``.

    Raises:
        RequestError: with the line to write.
    """
    if function is None:
        return
    found = _parameters(function) if callable(function) else []
    try:
        fine = found is None or bool(inspect.signature(function).bind(None, 0))
    except TypeError:
        fine = False
    if not fine:
        names = ", ".join(p.name for p in found or [])
        raise RequestError(
            f"Task.after_step is {function!r}, which takes ({names}): write "
            "after_step(model, step); it is called after each update, without gradients"
        )


OptimizerTakes = Literal["parameters", "named parameters", "model"]


def optimizer_takes(factory: Any) -> OptimizerTakes:
    """Tell what an optimizer factory wants: by the name or the annotation of its first argument.

    >>> optimizer_takes(lambda model: None), optimizer_takes(lambda named: None)
    ('model', 'named parameters')
    >>> optimizer_takes(lambda params: None)
    'parameters'
    """
    found = _parameters(factory)
    if not found:
        return "parameters"
    first, kind = found[0].name, found[0].annotation
    if first in _MODEL_NAMES or (isinstance(kind, type) and issubclass(kind, nn.Module)):
        return "model"
    if isinstance(kind, str) and kind.rpartition(".")[2] == "Module":
        return "model"
    return "named parameters" if first.startswith("named") else "parameters"


def made_optimizer(factory: Callable[[Any], Optimizer], model: nn.Module) -> Optimizer:
    """Call a task's optimizer factory with what it takes.

    Raises:
        RequestError: it speaks to parameters as if they were the model, or to the model as if it
            were its parameters.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    takes = optimizer_takes(factory)
    given: Any = model
    if takes == "parameters":
        given = [p for _, p in named]
    elif takes == "named parameters":
        given = named
    try:
        with unneeded_compiler():
            return factory(given)
    except (AttributeError, TypeError) as error:
        if not _speaks_otherwise(str(error)):
            raise
        raise RequestError(
            f"Task.optimizer was called with the {takes} and fails: {error}. The name of its "
            "argument says what it gets: optimizer(params), optimizer(named_parameters) for pairs "
            "of name and parameter, optimizer(model) for the model itself"
        ) from error


def _speaks_otherwise(words: str) -> bool:
    asks = "has no attribute 'parameters'", "has no attribute 'named_parameters'"
    return any(text in words for text in (*asks, "'tuple' object", "object is not iterable"))
