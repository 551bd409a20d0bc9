"""The classifier of a model, and the features that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from wingbeat.errors import RequestError
from wingbeat.task.predictions import class_labels, class_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from wingbeat.task.data import Batch
    from wingbeat.task.step import TrainingStep


@dataclass(frozen=True)
class HeadInput:
    """A function ``(model, batch) -> features`` for ``TrainingStep.evaluate``.

    Attributes:
        loss: runs the model, as ``Task.loss``.
        layer: name of the module whose input is taken, at its last call.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    >>> HeadInput(lambda model, batch: model(batch), "2")(net, torch.zeros(4, 2)).shape
    torch.Size([4, 3])
    """

    loss: Callable[[nn.Module, Batch], Any]
    layer: str

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return what the layer is given, (samples, features).

        Raises:
            RequestError: the layer does not run.
        """
        seen: list[Tensor] = []
        layer = model.get_submodule(self.layer)
        hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
        try:
            self.loss(model, batch)
        finally:
            hook.remove()
        if not seen:
            raise RequestError(f"layer {self.layer!r} did not run: name one that the loss calls")
        return seen[-1]


def head_of(
    step: TrainingStep, params: Tensor, buffers: Mapping[str, Tensor], batch: Batch
) -> tuple[str, NDArray[np.int64] | None]:
    """Return the linear layer that gives a task's class scores, and the right classes.

    Args:
        step: the task's pure step.
        params: flat weights (P,).
        buffers: by name.
        batch: samples.

    Returns:
        The module's name, "" where the last linear layer that ran does not give the scores, one row
        a sample; and the classes (samples,), None where the task gives none.

    >>> import torch
    >>> from wingbeat.task.step import TrainingStep
    >>> from wingbeat.tasks.dense import circles_task
    >>> step = TrainingStep(circles_task((4,)), torch.float64, torch.device("cpu"))
    >>> state = step.start(0)
    >>> x, y = step.task.data
    >>> head_of(step, state.params, state.buffers, (x[:3].double(), y[:3]))[0]
    '3'
    """
    found: dict[str, Any] = {}

    def look(model: nn.Module, given: Batch) -> None:
        """Note which linear layer runs last, what it is given, and the classes."""
        hooks = [
            module.register_forward_hook(
                lambda _, taken, out, name=name: found.update(last=(name, taken[0], out))
            )
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear)
        ]
        try:
            scores = class_scores(step.task, model, given)
        finally:
            for hook in hooks:
                hook.remove()
        labels = None if scores is None else class_labels(step.task, given, scores)
        found.update(scores=scores, labels=labels)

    step.evaluate(look, params, dict(buffers), batch)
    scores, labels = found["scores"], found["labels"]
    name, taken, out = found.get("last", ("", None, None))
    fits = scores is not None and name and taken.dim() == 2 and out.shape == scores.shape
    return (name if fits else "", None if labels is None else labels.long().cpu().numpy())
