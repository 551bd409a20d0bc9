"""Which optimizer has which pure form: a form declares itself, wherever it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import torch

from wingbeat.plugins import Registry
from wingbeat.task.optimizers.pure import PureOptimizer

Form = TypeVar("Form", bound=type[PureOptimizer])

OPTIMIZERS: Final[Registry[type[PureOptimizer]]] = Registry(
    "wingbeat.optimizers",
    "optimizer's pure form",
    lambda found: isinstance(found, type) and issubclass(found, PureOptimizer),
    "wingbeat.task.optimizers",
)
"""Every pure form by the place of the optimizer's class, as ``torch.optim.adam.Adam``."""


def pure_form(*kinds: type[torch.optim.Optimizer]) -> Callable[[Form], Form]:
    """Declare a class as the pure form of optimizers, exactly of these classes.

    A package announces it in the group ``wingbeat.optimizers`` under the place of the optimizer's
    class (see `place_of`), so that it is found without being imported.

    Example:
        >>> from wingbeat.task.optimizers import Sgd
        >>> form_of(torch.optim.SGD) is Sgd
        True
        >>> form_of(torch.optim.LBFGS) is None
        True
    """

    def declare(form: Form) -> Form:
        form.kinds = kinds
        for kind in kinds:
            OPTIMIZERS.add(place_of(kind), form)
        return form

    return declare


def place_of(kind: type[torch.optim.Optimizer]) -> str:
    """Return the name under which the pure form of a class is announced.

    >>> place_of(torch.optim.Adam)
    'torch.optim.adam.Adam'
    """
    return f"{kind.__module__}.{kind.__qualname__}".replace("<locals>", "local")


def form_of(kind: type[torch.optim.Optimizer]) -> type[PureOptimizer] | None:
    """Return the pure form of a class, None where there is none.

    A class that was defined anew after its form was declared has none: its step may be another.

    Raises:
        RequestError: a package announces one and cannot be loaded.
    """
    if place_of(kind) not in OPTIMIZERS:
        return None
    found = OPTIMIZERS.find(place_of(kind))
    return found if kind in found.kinds else None
