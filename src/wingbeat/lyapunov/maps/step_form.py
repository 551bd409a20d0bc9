"""The two forms in which people write a map: of the state alone, and of the state and the step."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from torch import nn

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from wingbeat.lyapunov.maps.states import Step

TIMES: Final = frozenset(("t", "n", "k", "i", "step", "time", "iteration", "epoch", "index"))
"""Names under which a second argument with a default is taken for the index of the step."""


def with_time(step: Any) -> Step:
    """Return a map as a function of state and step index.

    Args:
        step: ``step(state, t)``, or ``step(state)`` of a map that does not look at the time.

    Raises:
        RequestError: the second argument has a default and is not called like a time, as the ``h``
            of ``rk4(state, h=0.01)``: the index of the step would take its place.

    Example:
        >>> with_time(lambda x: 2 * x)(3, 0)
        6
        >>> with_time(lambda x, t: t * x)(3, 4)
        12
    """
    function = step.forward if isinstance(step, nn.Module) else step
    try:
        arguments = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # builtins need not tell
        return step  # type: ignore[no-any-return]
    if any(a.kind is a.VAR_POSITIONAL for a in arguments):
        return step  # type: ignore[no-any-return]
    arguments = [a for a in arguments if a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD)]
    if len(arguments) == 1:
        return lambda state, _t: step(state)
    if len(arguments) > 1 and _keeps_its_value(arguments[1]):
        name = arguments[1].name
        raise RequestError(
            f"the map's second argument is {name}={arguments[1].default!r}, but the index of the "
            f"step would be handed over in its place: give lambda state, t: step(state), or call "
            f"the argument t if it is the index"
        )
    return step  # type: ignore[no-any-return]


def _keeps_its_value(argument: inspect.Parameter) -> bool:
    return argument.default is not argument.empty and argument.name not in TIMES
