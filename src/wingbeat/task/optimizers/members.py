"""Which of a model's parameters each group of an optimizer trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingbeat.errors import RequestError
from wingbeat.params import trainable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def members_by_group(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict[str, Tensor]]:
    """Return the trainable parameters by name, one dict for each of the optimizer's groups.

    Raises:
        RequestError: the optimizer leaves one out.
    """
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
