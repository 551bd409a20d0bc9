"""One copy of a training: its parts, its batches under its noise, and what each step notes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import RunError
from wingbeat.task.batch_digest import batch_digest
from wingbeat.twins.noise import draws_nothing, ordered, seed_epoch_end, seed_fetch, seed_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor, nn

    from wingbeat.task.batches import Streams

_PATIENCE = 10_000
"""Batches after which a loop that never calls ``step`` is stopped, if no pass ended before."""
_ALL, _EVERY = 32, 16
"""Of a loader that cannot but repeat itself the first batches are compared with the reference's and
then every so many: only a loop that writes into its data could change them, and it would all."""

_ONCE = (
    "within copy.epochs() there must be one loop over copy.batches(loader) in each epoch, to the "
    "loader's end: for two loaders hand over a function, copy.batches(lambda: zip(first, second)), "
    "for shorter epochs copy.batches(lambda: itertools.islice(loader, 100))"
)
_ROUND = (
    "copy.batches(loader) goes round the loader until all steps are made, and they are: in a loop "
    "over epochs the first one was the whole training, and what follows an epoch's batches ran "
    "once. Write `for epoch in copy.epochs():` in place of `for epoch in range(...):`"
)


@dataclass
class Place:
    """Where a copy is.

    Attributes:
        step: updates made.
        drawn: batches drawn since step 0.
        passes: batches that had been drawn when each pass over the data began.
        pass_steps: updates that had been made then.
        digests: of every batch since the copy's first, as far as they lie in memory.
    """

    step: int = 0
    drawn: int = 0
    passes: list[int] = field(default_factory=list)
    pass_steps: list[int] = field(default_factory=list)
    digests: dict[int, int] = field(default_factory=dict)


class Copy:
    """What the loop trains: the reference, its unperturbed twin, or a perturbed copy.

    Attributes:
        label: "reference", "null" or ``perturbation#number``.
        seed: base seed.
        parts: what ``build`` returned, by name.
        steps: updates after which it is finished.
        turned: called when the loop comes back for more, its own part of an update being over.
        forgotten: called when what was trained is not what the loop means: nothing of it is kept.
    """

    def __init__(
        self,
        label: str,
        seed: int,
        parts: dict[str, Any],
        steps: int,
        place: Place,
        streams: Callable[[int], Streams],
        reference: Place | None,
        noted: Callable[[Copy, Tensor | None], None],
    ) -> None:
        self.label, self.seed, self.parts, self.steps = label, seed, parts, steps
        self.place, self._streams, self._reference, self._noted = place, streams, reference, noted
        self.turned: Callable[[], None] = lambda: None
        self.forgotten: Callable[[], None] = lambda: None
        self._iterating = False
        self._epoch: tuple[int, int] | None = None
        self._passed = False
        self._drawn_at_step = place.drawn
        self.differing: int | None = None

    @property
    def model(self) -> nn.Module:
        """The part called "model"."""
        found: nn.Module = self.parts["model"]
        return found

    @property
    def done(self) -> int:
        """Updates made so far."""
        return self.place.step

    def step(self, loss: Tensor | float | None = None) -> None:
        """Say that one update is over: it is counted, nudged, recorded, checkpointed when due.

        Args:
            loss: training loss of this update, for the records; a tensor is not waited for.
        """
        if self.done >= self.steps:
            msg = f"copy.step() was called after all {self.steps} steps of {self.label} were made"
            raise RunError(msg)
        self.place.step += 1
        self._drawn_at_step = self.place.drawn
        if isinstance(loss, torch.Tensor):
            self._noted(self, loss.detach().clone())
        else:
            self._noted(self, None if loss is None else torch.as_tensor(loss))

    def updates(self) -> Iterator[int]:
        """Yield the number of each update that is left: for loops without a loader.

        Raises:
            RunError: ``step`` was not called within one of them.
        """
        while self.done < self.steps:
            before = self.done
            seed_step(self._now(), self.place.drawn)
            self.place.drawn += 1  # before the step: its state says where to go on
            yield before
            self.turned()
            if self.done == before:
                raise RunError(self._forgotten(1))

    def epochs(self) -> Iterator[int]:
        """Yield the number of each epoch that is left: in place of ``range(epochs)``.

        Within an epoch `batches` goes round the loader once, and what follows it (a validation, a
        scheduler that is stepped once an epoch, a reset of a counter) has a seed of its own. A copy
        that begins within an epoch gets the rest of its batches; one that begins where an epoch's
        batches are over gets none, and what follows them.

        Raises:
            RunError: `batches` was not called once within an epoch, or left before its end.
        """
        number, skipped = self._begin(within=True)
        while self.done < self.steps:
            self._epoch, self._passed = (number, skipped), False
            yield number
            if not self._passed:
                raise RunError(_ONCE)
            number, skipped = number + 1, 0

    def batches(self, loader: Iterable[Any] | Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """Yield the same batches as every other copy, round and round, until all steps are made.

        Within `epochs` it goes round once.

        Args:
            loader: a DataLoader or anything else that can be iterated over again; a function is
                called for each pass, as for ``lambda: zip(first, second)``.

        Raises:
            RunError: it gives no batch, or another number of batches in a pass than it gave the
                reference; ``step`` is never called; two such loops at once, or a second one when
                all steps are made.
        """
        if self._epoch is not None:
            yield from self._epoch_of(loader, *self._epoch)
            return
        if self.done >= self.steps:
            self.forgotten()
            raise RunError(_ROUND)
        if self._iterating:
            msg = (
                "copy.batches() is already being iterated: to draw from two loaders, use one loop "
                "over copy.batches(lambda: zip(first, second))"
            )
            raise RunError(msg)
        self._iterating = True
        try:
            number, skipped = self._begin()
            while self.done < self.steps:
                yield from self._one_pass(loader, number, skipped)
                number, skipped = number + 1, 0
        finally:
            self._iterating = False

    def _epoch_of(self, loader: Any, number: int, skipped: int) -> Iterator[Any]:
        """Yield what is left of the epoch's batches, and seed what follows them."""
        if self._passed or self._iterating:
            raise RunError(_ONCE)
        self._iterating = True
        try:
            yield from self._one_pass(loader, number, skipped)
            self._passed = True  # not where the loop left before
        finally:
            self._iterating = False
        seed_epoch_end(self._now(), number)

    def _begin(self, *, within: bool = False) -> tuple[int, int]:
        """Return the pass that the next batch is of, and how many of its batches are over.

        Args:
            within: where all batches of a pass are over, mean this pass and not the next one.
        """
        known = self._reference.passes if self._reference is not None else self.place.passes
        last = max(self.place.drawn - 1, 0) if within else self.place.drawn
        begun = [start for start in known if start <= last]
        if not begun:
            return 0, self.place.drawn
        return len(begun) - 1, self.place.drawn - begun[-1]

    def _one_pass(self, loader: Any, number: int, skipped: int) -> Iterator[Any]:
        if len(self.place.passes) <= number:
            self.place.passes.append(self.place.drawn - skipped)
            self.place.pass_steps.append(self.done)
        first = self.place.drawn - skipped
        with ordered(loader, self._now(), number):
            source = iter(loader() if callable(loader) else loader)
            still = draws_nothing(loader)
            for place in itertools.count(first):
                if not still:
                    seed_fetch(self._now(), place)
                try:
                    batch = next(source)
                except StopIteration:
                    break
                if place < first + skipped:
                    continue
                if not still or place < _ALL or place % _EVERY == 0:
                    self._look(place, batch)
                seed_step(self._now(), place)
                self.place.drawn = place + 1
                yield batch
                self.turned()
                if self.done >= self.steps:
                    return
                self._still_stepping(_PATIENCE)
        self._ended(number, place - first)

    def _ended(self, number: int, length: int) -> None:
        if length == 0:
            again = " a second time: a generator can be read once; hand over a list, a loader or "
            msg = f"the loader gave no batch{again if number else ': hand over '}a function"
            raise RunError(msg)
        # Gradients may be accumulated over more than a pass, though not over many.
        self._still_stepping(max(3 * length, 100))
        known = self._reference.passes if self._reference is not None else []
        if len(known) > number + 1 and known[number + 1] - known[number] != length:
            msg = (
                f"pass {number} over the loader had {known[number + 1] - known[number]} batches "
                f"for the reference and {length} for {self.label}: the loader must give every copy "
                "the same batches"
            )
            raise RunError(msg)

    def _still_stepping(self, most: int) -> None:
        waited = self.place.drawn - self._drawn_at_step
        if waited >= most:
            raise RunError(self._forgotten(waited))

    def _forgotten(self, batches: int) -> str:
        return (
            f"copy.step() was not called in {batches} batches: call it once after each update, "
            "as in `optimizer.step(); copy.step(loss)`"
        )

    def _now(self) -> Streams:
        return self._streams(self.place.step)

    def _look(self, place: int, batch: Any) -> None:
        """Note the digest of a batch, and the first that is not the reference's."""
        found = batch_digest(batch)
        self.place.digests[place] = found
        there = None if self._reference is None else self._reference.digests.get(place)
        if there is not None and there != found and self.differing is None:
            self.differing = place
