"""Exporting a model to a graph of ATen operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError

Inputs = Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]
"""Example inputs: one tensor, positional arguments, or keyword arguments."""
Outputs = Callable[[Any], Any]
"""Picks from the model's result what must not change."""


class Chosen(nn.Module):
    """A model that returns only what ``outputs`` picks from its result."""

    def __init__(self, model: nn.Module, outputs: Outputs | None) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(self, *args: object, **kwargs: object) -> object:
        """Run the model and pick."""
        found = self.model(*args, **kwargs)
        return found if self.outputs is None else self.outputs(found)


PREFIX = "model."


def arguments(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return example inputs as positional and keyword arguments."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)), {}


def exported(
    model: nn.Module, inputs: Inputs, outputs: Outputs | None
) -> torch.export.ExportedProgram:
    """Export a model in evaluation mode, without gradients and without strict tracing.

    Raises:
        RequestError: torch.export cannot follow the model; its message is passed on.
    """
    args, kwargs = arguments(inputs)
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = Chosen(model, outputs).eval()
            return torch.export.export(wrapped, args, kwargs, strict=False)
    except Exception as error:
        raise RequestError(
            f"torch.export cannot follow {type(model).__name__}: {error}. Check the example "
            "inputs, and take out of forward what depends on the values of the inputs"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
