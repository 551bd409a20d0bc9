"""The loss before any update: is there anything to train?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wingbeat.determinism import derive
from wingbeat.errors import RequestError
from wingbeat.task.batches import Streams

if TYPE_CHECKING:
    from wingbeat.task.batches import Batches
    from wingbeat.task.step import TrainingStep


def first_loss(step: TrainingStep, batches: Batches) -> float:
    """Return the reference's loss on its first batch, by the plain step.

    Raises:
        RequestError: it is not finite, or the loss is not a scalar.
    """
    streams = Streams.of(step.task.seed)
    state = step.start(step.task.seed)
    torch.manual_seed(derive(streams.dropout, 0))
    batch = batches.batch(streams, 0)
    try:
        _, loss, _ = step.gradient(state.params, state.buffers, batch)
    except (RuntimeError, NotImplementedError) as error:
        line = str(error).strip().partition("\n")[0]
        step.use_objects(f"torch.func cannot differentiate the model: {line}")
        torch.manual_seed(derive(streams.dropout, 0))
        _, loss, _ = step.gradient(state.params, state.buffers, batch)
    if not torch.isfinite(loss):
        msg = (
            f"the loss of the first batch is {float(loss)} before any update: check the data "
            "for NaN, the model's initialisation and the loss function"
        )
        raise RequestError(msg)
    return float(loss)
