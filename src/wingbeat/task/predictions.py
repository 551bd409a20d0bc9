"""What a model predicts on a batch, and what is right, as far as the task tells."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.generators import GeneratorStates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from wingbeat.task.data import Batch
    from wingbeat.task.task import Task


def loss_and_scores(task: Task, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Return the task's loss and the class scores, as `class_scores`, from one forward pass.

    Where the loss has called ``model(batch[0])`` and the scores are made of that, its result is
    taken; a second pass would give the same. Otherwise the model runs twice.
    """
    if not isinstance(batch, (tuple, list)) or not batch:
        return task.loss(model, batch), class_scores(task, model, batch)
    seen: list[tuple[Tensor, int]] = []

    def remember(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        alone = len(inputs) == 1 and inputs[0] is batch[0]
        if alone and isinstance(output, torch.Tensor):
            seen.append((output, output._version))

    simple, before = _is_simple(model), GeneratorStates.now()
    hook = model.register_forward_hook(remember)
    try:
        loss = task.loss(model, batch)
    finally:
        hook.remove()
    # A loss may change the scores in place: then they are no longer what the model gave.
    if not seen or seen[0][0]._version != seen[0][1]:
        return loss, class_scores(task, model, batch)
    if task.predict is None:
        return loss, _several(seen[0][0])
    if not simple or before.moved():
        return loss, class_scores(task, model, batch)
    with _answering(model, batch[0], seen[0][0]):
        return loss, class_scores(task, model, batch)


def _is_simple(model: nn.Module) -> bool:
    """Tell whether a call of a model is one of the ``forward`` of its class, and no more."""
    hooks = (model._forward_hooks, model._forward_pre_hooks)
    scripted = isinstance(model, torch.jit.ScriptModule)
    return not any(hooks) and "forward" not in vars(model) and not scripted


@contextlib.contextmanager
def _answering(model: nn.Module, inputs: Any, output: Tensor) -> Iterator[None]:
    """Let a model return what it gave before where it is called with the same inputs alone."""
    usual = model.forward

    def forward(*given: Any, **named: Any) -> Any:
        """Return what is known, or run the model."""
        known = len(given) == 1 and not named and given[0] is inputs
        return output if known else usual(*given, **named)

    model.forward = forward
    try:
        yield
    finally:
        del model.forward


def class_scores(task: Task, model: nn.Module, batch: Batch) -> Tensor | None:
    """Return class scores (samples, classes), or None where the task gives none.

    They are ``Task.predict(model, batch)``, by default ``model(batch[0])`` where the data are
    a tuple; anything but two axes with at least two classes is no class score.
    """
    if task.predict is not None:
        scores = task.predict(model, batch)
    elif isinstance(batch, (tuple, list)):
        scores = model(batch[0])
    else:
        return None
    return _several(scores)


def _several(scores: Any) -> Tensor | None:
    several = isinstance(scores, torch.Tensor) and scores.dim() == 2 and scores.shape[1] > 1
    return scores if several else None


def class_labels(task: Task, batch: Batch, scores: Tensor) -> Tensor | None:
    """Return the right classes (samples,), or None where the task gives none.

    They are ``Task.targets(batch)``, by default ``batch[1]`` where it holds whole numbers.
    """
    if task.targets is not None:
        return task.targets(batch)
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        return None
    labels = batch[1]
    whole = isinstance(labels, torch.Tensor) and not labels.is_floating_point()
    return labels if whole and labels.shape == scores.shape[:1] else None
