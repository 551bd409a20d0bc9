"""Prove that replicas that start equal stay equal in a stack, wherever in it they lie."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch

from wingbeat.heap import give_back
from wingbeat.replicas.drivers.execution_plan import ExecutionPlan
from wingbeat.replicas.drivers.marks import equal, mark_of_state
from wingbeat.replicas.replicas import Driver, Replicas, partition

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import Tensor

    from wingbeat.replicas.fork import Member
    from wingbeat.task.batches import Batches
    from wingbeat.task.step import TrainingStep

VECTOR_LOOP: Final = 32
"""Numbers that a vectorised kernel takes at a time: two registers of 16 single floats."""
PLACE: Final = (
    "replicas that start equal do not stay equal in lock step on this machine with this number of "
    "threads: trust no distance near the noise floor, or use driver='loop', or one thread "
    "(OMP_NUM_THREADS=1)"
)
"""Said where a replica's bits depend on its place in the stack."""
SIZE: Final = (
    "how a replica rounds depends on this machine on how many are in its stack: the replicas of "
    "this run and its twin stay comparable to the bit, but the same replica in a run with other "
    "perturbations is another one, as a small nudge would make it; driver='loop' does not do this"
)
"""Said where it depends on the number of replicas alone."""
SIZES: Final = (16, 8, 4)
"""Sizes of stacks that are tried where equal copies part in the whole, each half of the one before.
On an H200 about 32 copies of a ResNet-8 parted, and 5 did not; below 4 little is left to save."""


class EqualCopies:
    """Trials of one run's stacks with copies that are all equal.

    Args:
        step: the pure step.
        batches: training data.
        stack_schedule: the members that are in the stack between two forks, for each such stretch.
        steps: length of the run.
    """

    def __init__(
        self,
        step: TrainingStep,
        batches: Batches,
        stack_schedule: Sequence[list[Member]],
        steps: int,
    ) -> None:
        self.step, self.batches = step, batches
        self.stack_schedule, self.steps = stack_schedule, steps

    def checked(
        self,
        driver: Driver,
        chunk: int,
        reason: str,
        timings: dict[str, float] | None = None,
        fills: Collection[int] = (),
    ) -> ExecutionPlan:
        """Prove that a replica's bits depend neither on its place nor on who rides along.

        Args:
            driver: to prove it of.
            chunk: largest stack; see ``Replicas``.
            reason: why it was chosen.
            timings: what was measured.
            fills: multiples that stacks may be filled up to, instead of the usual ones.
        """
        found = {}
        for spare in sorted(fills or ({1} if chunk == 1 else self.fills(driver))):
            found[spare] = self._depends(driver, chunk, spare)
            if not found[spare]:
                return ExecutionPlan(driver, chunk, spare, reason, timings or {})
        spare = next((spare for spare, why in found.items() if why == SIZE), 1)
        why = found.get(spare, PLACE)
        return ExecutionPlan(driver, chunk, spare, reason, timings or {}, (why,))

    def _depends(self, driver: Driver, chunk: int, spare: int) -> str:
        """Return on what a replica's bits depend: "" for nothing, else `SIZE` or `PLACE`."""
        seen: list[list[Tensor]] = []
        sizes, within = set(), True
        for everybody in self.stack_schedule:
            # One by one, more than two of them would be the same once more.
            cast = everybody[:2] if chunk == 1 else everybody
            parts = tuple(len(p) for p in partition(cast, chunk))
            if parts in sizes:
                continue
            sizes.add(parts)
            replicas = self.replicas(driver, chunk, cast, spare)
            for index in self._probes():
                replicas.advance(index, in_place=replicas.large)
                if replicas.large:
                    give_back()
            base = [m.streams == cast[0].streams for m in cast]
            states = [s for s, same in zip(replicas.states(), base, strict=True) if same]
            first, *others = (mark_of_state(s, large=replicas.large) for s in states)
            states.clear()  # before there are others
            within = within and all(equal(first, s) for s in others)
            seen.append(first)
            replicas.release()
        across = all(equal(seen[0], s) for s in seen[1:])
        return PLACE if not within else "" if across else SIZE

    def smaller(self, chunk: int, fills: Collection[int]) -> list[int]:
        """Return the sizes of stacks to try after a plan in which equal copies part, largest first.

        Args:
            chunk: the largest stack of that plan; 0 where everybody was in one.
            fills: what stacks are filled up to a multiple of.
        """
        largest = max(len(p) for cast in self.stack_schedule for p in partition(cast, 0))
        below = chunk + 1 if chunk > 1 else largest
        filled = {-(-size // fill) * fill for size in SIZES for fill in fills}
        return sorted((size for size in filled if size < below), reverse=True)

    def fills(self, driver: Driver) -> set[int]:
        """Return what stacks may be filled up to a multiple of."""
        return {self.fill(driver), max(self.fill(driver), self._even())}

    def fill(self, driver: Driver) -> int:
        """Return what a stack is filled up to a multiple of.

        A few steps may hide that an operation is uneven, so it is not left to the check alone.
        """
        if self.step.device.type != "cpu":  # GPUs compute each element alike
            return 1
        # Of a driver that does not say, anything may be uneven.
        channels = getattr(driver, "lanes", ())
        lanes = [VECTOR_LOOP // math.gcd(VECTOR_LOOP, count) for count in channels]
        return max([self._even() if getattr(driver, "uneven", True) else 1, *lanes])

    def _even(self) -> int:
        """Return the least stack size whose activations fill whole vector loops, in any layout."""
        # Threads cut large tensors into equal pieces, each of which ends in a remainder.
        loop = VECTOR_LOOP * (1 if self.step.task.precision is None else 2)  # of 16-bit numbers
        whole = loop << min(3, (torch.get_num_threads() - 1).bit_length())
        return whole // math.gcd(whole, *self.batches.rows())

    def _probes(self) -> list[int]:
        """Return the steps that are tried: the first few, and the last batch of an epoch."""
        last = self.batches.steps_per_epoch - 1 if self.batches.addressable else 0
        return sorted(i for i in {0, 1, 2, last} if i < self.steps)

    def replicas(self, driver: Driver, chunk: int, cast: list[Member], spare: int = 1) -> Replicas:
        """Return members at the start of the run, all equal."""
        replicas = Replicas(driver, self.batches, chunk, spare=spare)
        start = self.step.start(self.step.task.seed).map(lambda t: t.unsqueeze(0))
        states = [start] * len(cast)
        del start
        replicas.place(cast, states)
        return replicas
