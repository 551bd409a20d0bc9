"""Which of a model's parameters each group of an optimizer trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wingbeat.errors import RequestError
from wingbeat.params import trainable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def members_by_group(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict[str, Tensor]]:
    """Return the trainable parameters by name, one dict for each of the optimizer's groups.

    Raises:
        RequestError: the optimizer leaves one out, or trains some that are not the model's.
    """
    _refuse_foreign(model, optimizer)
    names = {id(p): name for name, p in trainable(model).items()}
    if not hasattr(optimizer, "param_groups"):  # an object of the user's own around several
        return [dict(trainable(model))]
    groups = [
        {names[id(p)]: p for p in group["params"] if id(p) in names}
        for group in optimizer.param_groups
    ]
    covered = {name for group in groups for name in group}
    missing = [name for name in names.values() if name not in covered]
    if missing:
        msg = (
            f"the optimizer leaves out {len(missing)} trainable parameter(s), first "
            f"{missing[0]!r}: pass every parameter to it, or set requires_grad=False on those "
            "that stay fixed"
        )
        raise RequestError(msg)
    return groups


def _refuse_foreign(model: nn.Module, optimizer: Any) -> None:
    """Refuse parameters of a criterion or a second network: no replica would have its own."""
    own = {id(p) for p in model.parameters()}
    groups = [group for one in _around(optimizer) for group in one.param_groups]
    foreign = [p for group in groups for p in group["params"] if id(p) not in own]
    if foreign:
        raise RequestError(
            f"the optimizer trains {len(foreign)} parameter(s) that are not the model's, first one "
            f"of shape {tuple(foreign[0].shape)}, as of a loss with weights of its own: make them "
            'part of the model, model=lambda: nn.ModuleDict({"net": net(), "criterion": '
            "criterion()}), so that each copy has its own, or keep your loop with wb.Twins"
        )


def _around(optimizer: Any) -> list[Any]:
    """Return an optimizer, or those that an object of the user's own holds."""
    if hasattr(optimizer, "param_groups"):
        return [optimizer]
    held = [v for value in vars(optimizer).values() for v in _several(value)]
    return [value for value in held if hasattr(value, "param_groups")]


def _several(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else [value]
