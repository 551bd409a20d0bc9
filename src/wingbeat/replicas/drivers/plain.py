"""Hold a driver to a plain loop: its first losses must be those of model and optimizer themselves.

The second loss follows the first update, so that another gradient shows too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch

from wingbeat.determinism import derive, seed_all
from wingbeat.errors import DriverError
from wingbeat.generators import GeneratorStates
from wingbeat.replicas.drivers.accelerator import rounding_of_products
from wingbeat.replicas.drivers.loop import ObjectLoop
from wingbeat.task.precision import TYPES, left_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from wingbeat.replicas.replicas import Replicas
    from wingbeat.task.step import TrainingStep

_LONGEST: Final = 24
"""Steps after which an update is waited for no longer where gradients overflow: torch's usual scale
of 2^16 is 2^-8 then, far below what any loss needs that can be trained in 16 bits."""
_OTHERS: Final = 4
"""Other random numbers that are tried before a coarse tolerance is trusted."""


class UnlikePlainError(DriverError):
    """A stack trains otherwise than the model and the optimizer themselves."""


def hold_to_plain(
    step: TrainingStep, stack: Replicas, alone: Callable[[], Replicas], steps: int
) -> None:
    """Compare the reference's first losses in a stack with those of a plain loop.

    Args:
        step: of the task.
        stack: the driver's replicas, at the start; they are advanced and given up.
        alone: returns the reference alone on the loop, at the start; it is advanced.
        steps: length of the run.

    Raises:
        UnlikePlainError: they differ by more than rounding.
    """
    _advance_past_overflow(step, stack, steps)
    losses, large = stack.take_losses()[:, 0].double(), stack.large
    stack.release()  # before there are others
    plain = alone()
    begin = plain.states() if _rounding(step) else []
    for index in range(len(losses)):
        plain.advance(index, in_place=large and not begin)
    own = plain.take_losses()[:, 0].double()
    apart = (losses - own).abs()
    size = float(own.nan_to_num().abs().max() + 1)
    # A few hundred roundings: other masks of dropout or another gradient change the loss more.
    allowed = max(512 * torch.finfo(step.dtype).eps, rounding_of_products(step)) * size
    loose = _rounding(step) * size
    if loose > allowed and bool((apart > allowed).any()):
        plain.place(plain.members, [*begin])
        allowed = loose if _tells_apart(plain, float(own[0]), loose) else allowed
    if isinstance(plain.driver, ObjectLoop):
        plain.driver.release()
    if bool((apart > allowed).any()):
        index = int((apart > allowed).nonzero()[0])
        why = (
            f"a stack of {step.task.precision} products rounds otherwise"
            if step.task.precision
            else "dropout of a tensor that lies transposed in memory draws another mask there"
        )
        msg = (
            f"lock step does not repeat the plain loop at step {index}: loss "
            f"{float(losses[index]):g}, plain {float(own[index]):g} ({why}, for example)"
        )
        raise UnlikePlainError(msg)


def _advance_past_overflow(step: TrainingStep, stack: Replicas, steps: int) -> None:
    """Make the first two updates, and more where those that overflow are left out.

    The run itself proves the second step; see ``Proofs``.
    """
    done = False
    for index in range(min(steps, 2 if step.scaling is None else _LONGEST)):
        stack.advance(index, in_place=stack.large)
        if done:
            return
        done = left_out(stack.states()[0].slots) <= index


def _rounding(step: TrainingStep) -> float:
    """Return two roundings of the type in which mixed precision multiplies; else 0."""
    precision = step.task.precision
    return 2 * torch.finfo(TYPES[precision]).eps if precision else 0.0


def _tells_apart(plain: Replicas, loss: float, tolerance: float) -> bool:
    """Tell whether a tolerance is finer than what other random numbers make of the first loss.

    A tolerance that would take wrong masks for right ones is none. Where nothing is drawn, no
    mask can be wrong.
    """
    members, begin = plain.members, plain.states()
    plain.advance(0)
    after = GeneratorStates.now()
    seed_all(derive(members[0].streams.dropout, plain.batches.first))
    plain.take_losses()
    if not after.moved():
        return True
    moved = []
    for other in range(1, _OTHERS + 1):
        noise = derive(members[0].streams.dropout, "other", other)
        streams = replace(members[0].streams, dropout=noise)
        plain.place([replace(members[0], streams=streams)], [*begin])
        plain.advance(0)
        moved.append(abs(float(plain.take_losses()[0, 0]) - loss))
    return min(moved) > 2 * tolerance
