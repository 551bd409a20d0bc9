"""What a training function returns, in any of its shapes, and accuracy where it returns none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wingbeat.deep_lyapunov.loaders import moved


def last_number(value: Any) -> float | None:
    """Return the last number of a scalar, list, array or tensor; None where there is none.

    >>> last_number([0.5, 0.25]), last_number(torch.tensor(2.0)), last_number([])
    (0.25, 2.0, None)
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().double().numpy()
    if isinstance(value, list | tuple):
        return last_number(value[-1]) if value else None
    if isinstance(value, np.ndarray):
        return last_number(value.reshape(-1)[-1].item()) if value.size else None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    return float(value)


def read(returned: Any) -> dict[str, float | None]:
    """Return loss and accuracy of what a training function returned.

    Understands a dictionary with ``loss`` and ``accuracy`` or ``test_acc`` (numbers, lists,
    tensors), and a bare number as the loss. Anything else holds neither.

    >>> read({"loss": [0.5, 0.25], "test_acc": 0.75})
    {'loss': 0.25, 'accuracy': 0.75}
    >>> read(None)
    {'loss': None, 'accuracy': None}
    """
    if not isinstance(returned, Mapping):
        scalar = not isinstance(returned, list | tuple) and np.ndim(_array(returned)) == 0
        return {"loss": last_number(returned) if scalar else None, "accuracy": None}
    accuracy = last_number(returned.get("accuracy"))
    if accuracy is None:
        accuracy = last_number(returned.get("test_acc"))
    return {"loss": last_number(returned.get("loss")), "accuracy": accuracy}


def takes(function: Callable[..., Any], name: str) -> bool:
    """Tell whether a function has a parameter of this name (``**kwargs`` is not one).

    >>> takes(lambda model, test_loader: None, "test_loader")
    True
    """
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in callables have no signature
        return False


def accuracy_on(model: nn.Module, batches: Iterable[Any], device: str) -> float | None:
    """Return the share of right predictions over batches ``(inputs, labels, …)``.

    Class scores ``(n, classes)`` with integer labels ``(n,)``, or one logit per sample with
    labels 0 and 1. None for anything else.

    >>> model = nn.Identity()
    >>> accuracy_on(model, [(torch.eye(2), torch.tensor([0, 0]))], "cpu")
    0.5
    """
    right = total = 0
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                hits = _hits(model, moved(batch, device))
                if hits is None:
                    return None
                right, total = right + int(hits.sum()), total + hits.numel()
    finally:
        for module, mode in modes:
            module.training = mode
    return right / total if total else None


def _hits(model: nn.Module, batch: Any) -> Tensor | None:
    if not (isinstance(batch, list | tuple) and len(batch) >= 2 and isinstance(batch[1], Tensor)):
        return None
    labels, scores = batch[1], model(batch[0])
    if not isinstance(scores, Tensor):
        return None
    whole = not labels.is_floating_point() and not labels.is_complex()
    if whole and labels.dim() == 1 and scores.dim() == 2 and scores.shape[1] > 1:
        return scores.argmax(dim=1) == labels
    if scores.numel() == labels.numel() and bool(((labels == 0) | (labels == 1)).all()):
        return (scores.reshape(-1) > 0) == labels.reshape(-1).bool()
    return None


def _array(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value
