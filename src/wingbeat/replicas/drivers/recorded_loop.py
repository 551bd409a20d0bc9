"""The recorded loop: one replica after another by a recording of the step, a core for each.

For nets whose steps are limited by arithmetic, convolutional ones above all, a stack gains nothing:
its convolutions are grouped ones, which are slow. What a plain loop still loses is
differentiation in Python, memory formats that its kernels do not like, and cores. Here the step of
one replica is recorded as in lock step, without the stack; images come with their channels last;
and as many replicas as torch has threads advance at the same time, each on one thread, so that the
bits of a replica do not depend on how many cores there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch.utils import _pytree as pytree

from wingbeat.errors import DriverError
from wingbeat.replicas.aliases import is_random
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.registry import driver

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.replicas.drivers.form import ArgumentForm
    from wingbeat.replicas.drivers.recorded import Mode, RecordedStep
    from wingbeat.task.data import Batch
    from wingbeat.task.step import State, TrainingStep

T = TypeVar("T")

RECORDED: Final = "recorded"
"""Name of the driver."""
MODES: Final = ("compiled_channels_last", "compiled", "channels_last", "contiguous")
"""From the fastest to the one that takes every step that can be recorded at all."""
LAST: Final = "channels_last"
"""What the modes have in their name in which images lie with their channels last."""
_TRIAL_SECONDS: Final = 20.0
"""A recording and its proofs take a few seconds: a shorter run cannot win them back."""
_COMPILE_SECONDS: Final = 600.0
"""Compiling a ResNet-20 takes up to two minutes and saves a seventh of what is left."""
_MARGIN, _MARGIN_COMPILED = 1.1, 1.05
"""So much faster than the loop, or than the other mode: near a tie the choice should not flip."""
_IMAGES: Final = 4
"""Axes of a batch of images: sample, channel, row, column."""


class RecordedLoop(Lockstep):
    """Advance replicas one by one with a recorded step, side by side on the cores.

    Args:
        step: the pure single-replica step.
        mode: one of ``MODES``: whether the recording goes through ``torch.compile``, and whether
            the batch's images lie in memory with their channels last.

    Raises:
        DriverError: at the first call, if the step cannot be recorded in this mode.

    Attributes:
        workers: replicas that advance at the same time.
    """

    name = RECORDED
    words = "recorded"

    def __init__(self, step: TrainingStep, mode: str = "channels_last") -> None:
        super().__init__(step, _form(mode))
        self.mode, self._last = mode, LAST in mode
        self.workers = torch.get_num_threads() if step.device.type == "cpu" else 1
        self._pool: ThreadPoolExecutor | None = None
        self._random: dict[str, bool] = {}
        self._recent: tuple[Batch, Batch] | None = None

    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance a stack of one replica; ``state`` tensors have a leading axis of 1."""
        return self._on_one_thread(partial(self._take, state, batch, index))

    def prove(self, state: State, batch: Batch, index: int) -> None:
        """Compare the recorded step with the step itself; see ``Lockstep.prove``."""
        self._on_one_thread(partial(super().prove, state, batch, index))

    def abreast(
        self, calls: Sequence[tuple[State, Batch]], index: int
    ) -> list[tuple[State, Tensor]] | None:
        """Advance several replicas at the same time; None where they have to take turns.

        They take turns where there is one thread only, before the step is built, and where a step
        draws random numbers: torch's generator is one for all threads.

        Args:
            calls: state and batch of each.
            index: of the step.
        """
        if self.workers == 1 or not all(
            self._can_go(state, batch, index) for state, batch in calls
        ):
            return None
        states, batches = zip(*calls, strict=True)
        return list(self._threads().map(partial(self._take, index=index), states, batches))

    def _take(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        return super().__call__(state, batch, index)

    def _can_go(self, state: State, batch: Batch, index: int) -> bool:
        form, leaves = self._laid_out(state, batch)
        program = self._programs.get(form.key(leaves))
        if program is None:
            return False
        if program.signature not in self._random:
            self._random[program.signature] = _draws(program)
        return not self._random[program.signature]

    def _on_one_thread(self, call: Callable[[], T]) -> T:
        return call() if self.workers == 1 else self._threads().submit(call).result()

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            # The count is each thread's own, yet setting it sets what later threads begin with too.
            many, met = torch.get_num_threads(), Barrier(self.workers)
            self._pool = ThreadPoolExecutor(self.workers, initializer=_take_one_thread)
            for _ in self._pool.map(lambda _: met.wait(), range(self.workers)):
                pass  # all of them are there
            torch.set_num_threads(many)
        return self._pool

    def _laid_out(
        self, state: State, batch: Batch, index: int | None = None
    ) -> tuple[ArgumentForm, list[Tensor]]:
        if len(state.params) != 1:
            msg = (
                f"the recorded loop advances one replica a call, not a stack of {len(state.params)}"
            )
            raise DriverError(msg)
        return super()._laid_out(state, self._arranged(batch) if self._last else batch, index)

    def _arranged(self, batch: Batch) -> Batch:
        """Return a batch whose images have their channels last; all replicas share it."""
        if self._recent is None or self._recent[0] is not batch:
            leaves, spec = pytree.tree_flatten(batch)
            if not any(map(_is_images, leaves)):
                raise DriverError(
                    "the batch holds no images (four axes), so none has channels last"
                )
            last = torch.channels_last
            moved = [t.contiguous(memory_format=last) if _is_images(t) else t for t in leaves]
            self._recent = batch, pytree.tree_unflatten(moved, spec)
        return self._recent[1]

    def _mapped(self, one: Callable[..., Any], *arguments: Any) -> Any:
        """Call what takes a step for the one replica of a stack."""
        params, buffers, slots, batch, c = arguments
        # With a scaled loss each replica has coefficients of its own.
        own = (params, buffers, slots, c if self.step.scaling is not None else ())
        params, buffers, slots, mine = pytree.tree_map(lambda t: t[0], own)
        c = mine or c
        after = one(params, buffers, slots, batch, c)
        return pytree.tree_map(lambda t: t.unsqueeze(0), after)


def first_trial(seconds: float, compiled: bool | None, shapes: int) -> tuple[str, ...]:
    """Return the modes that "auto" tries, each with those after it to fall back on.

    Args:
        seconds: that the rest of the run takes in the loop.
        compiled: asked for, forbidden (False) or open (None).
        shapes: of batches, as far as they have several: each would be recorded.

    >>> first_trial(5.0, None, 0), first_trial(60.0, None, 0)
    ((), ('channels_last',))
    """
    if seconds < _TRIAL_SECONDS or shapes > 1:
        return ()
    long = compiled or (compiled is None and seconds > _COMPILE_SECONDS)
    return (LAST, MODES[0]) if long else (LAST,)


def is_worth_it(found: float, best: float, is_loop: bool) -> bool:
    """Tell whether a time is so much shorter than the best one that it should be chosen.

    >>> is_worth_it(95.0, 100.0, is_loop=True), is_worth_it(80.0, 100.0, is_loop=True)
    (False, True)
    """
    return found * (_MARGIN if is_loop else _MARGIN_COMPILED) < best


def _form(mode: str) -> Mode:
    """Return how the recording of a mode is executed."""
    if mode not in MODES:
        raise DriverError(f"mode is {mode!r}: use one of {', '.join(MODES)}")
    return "compiled" if mode.startswith("compiled") else "traced"


def _take_one_thread() -> None:
    torch.get_num_threads()  # a thread takes the common count when it is first asked for
    torch.set_num_threads(1)


def _is_images(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.dim() == _IMAGES


def _draws(program: RecordedStep) -> bool:
    """Tell whether a recording draws random numbers."""
    nodes = () if program.graph is None else program.graph.graph.nodes
    return any(map(is_random, nodes))


@driver(
    RECORDED,
    modes=MODES,
    usual=LAST,
    caption="One replica after another by a recorded step, a core for each.",
    stacks=False,
)
def make_recorded_loop(step: TrainingStep, mode: str) -> RecordedLoop:
    """Return the recorded loop in one of its modes."""
    return RecordedLoop(step, mode)
