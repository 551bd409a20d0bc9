"""Batch ``t`` as a pure function of ``(seed, t)``.

Nothing is drawn from a stream: which samples batch ``t`` holds follows from the order
seed and ``t`` alone, and how a sample is augmented from the augmentation seed, the epoch
and the sample's index. Twins therefore agree, and resuming is a counter.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from wingbeat.determinism import derive, seeded
from wingbeat.errors import DriverError, RequestError, RunError
from wingbeat.generators import GeneratorStates, host_states
from wingbeat.task.data import Collated, is_tensors, joined, len_of, plain
from wingbeat.task.order import order_of
from wingbeat.task.replay import Listed, Rounds, given
from wingbeat.task.streams import Streams

__all__ = ["Batches", "Streams", "copied", "draws", "eval_batches", "only_tensors", "placer"]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from wingbeat.task.data import Batch
    from wingbeat.task.task import Task

_TRIED = 4
"""Samples that are asked for twice."""
_LOOKED_AT = 64
"""Batches whose shapes are looked at before a driver is chosen."""


class Batches:
    """The task's training batches on a device, addressed by streams and step.

    With ``Task.accumulate`` above 1, what a step sees is a list of so many batches.

    Args:
        task: what to train: its data in an order, or batches that somebody else makes.
        dtype: floating-point data are cast to it.
        device: where batches are delivered.

    Attributes:
        first: updates that were made before step 0; see ``Task.start``.
        steps_per_epoch: updates in a pass over the data, rounded up.
        addressable: whether any step can be asked for without going through those before it.
        remembers: names of the Python state that asking for a batch changes.
    """

    def __init__(self, task: Task, dtype: torch.dtype, device: torch.device) -> None:
        self.task, self.first = task, task.first_step
        self.steps_per_epoch = task.steps_per_epoch
        self.device, self._place = device, placer(dtype, device)
        self._given = None if task.batches is None else given(task.batches)
        self.addressable = not (isinstance(self._given, Rounds) and self._given.per_pass is None)
        own = self._given is None and is_tensors(task.data)
        self._tensors: Any = self._place(task.data) if own else None
        # Quicker, and the same where nothing lies in another order.
        held = self._tensors
        self._plain = is_plain(held) and all(t.is_contiguous() for t in held or ())
        self.remembers: tuple[str, ...] = ()
        self._shapes: set[tuple[Any, ...]] | None = None
        self._recent: dict[tuple[int, int], tuple[int, Batch]] = {}

    def indices(self, order: int, step: int) -> Tensor:
        """Return the sample indices (batch,) that step ``step`` sees under an order seed."""
        return order_of(self.task).find(order, step)[1]

    def batch(self, streams: Streams, step: int) -> Batch:
        """Return the batch of one step, augmented, on the device."""
        key = (streams.order, streams.augmentation)
        if self._recent.get(key, (-1, None))[0] != step:
            made = self.anew(streams, step)
            self._recent = {k: v for k, v in self._recent.items() if v[0] == step}
            self._recent[key] = (step, made)
        return self._recent[key][1]

    def anew(self, streams: Streams, step: int) -> Batch:
        """Make the batch of one step, though it was made a moment ago.

        Raises:
            RunError: the data set or the augmentation fails.
        """
        many, start = self.task.accumulate, (self.first + step) * self.task.accumulate
        if many == 1:
            return self._made(streams, start, step)
        return [self._made(streams, start + i, step) for i in range(many)]

    def notice_kept_draws(self) -> None:
        """Note in ``remembers`` samples that are random when first asked for, and then kept.

        What they hold depends on the pass in which that was: another one in a resumed run. To be
        called before anybody else asks for a sample.
        """
        if self._given is not None or self._tensors is not None:
            return
        streams, start = Streams.of(self.task.seed), self.first * self.task.accumulate
        epoch, indices = order_of(self.task).find(streams.order, start)
        seeds = {i: derive(streams.augmentation, epoch, i) for i in indices.tolist()[:_TRIED]}
        if any(self._draws(*one) and not self._draws(*one) for one in seeds.items()):
            data = self.task.data
            kind = type(data.samples if isinstance(data, Collated) else data).__name__
            self.remembers = (f"what {kind} drew at random",)

    def _draws(self, index: int, seed: int) -> bool:
        """Tell whether fetching a sample draws random numbers; one that fails draws none."""
        with seeded(seed):
            before, host = GeneratorStates.now(), host_states()
            try:
                self.task.data[index]
            except Exception as error:  # told when the batch is made
                logging.getLogger("wingbeat").info("sample %d: %s", index, error)
                return False
            return before.moved() or host != host_states()

    def rows(self) -> tuple[int, ...]:
        """Return how many samples batches may have; (1,) where that is not known."""
        task = self.task
        if self._given is not None:
            batches = self._given.batches if isinstance(self._given, Listed) else ()
            return tuple(_rows(batch) for batch in batches) or (1,)
        if task.sampler is not None:
            return tuple({len(part) for part in order_of(task).first()})
        size = len_of(task.data)
        batch = min(size, task.batch_size)
        return batch, 0 if task.drop_last else size % batch

    def shapes(self) -> set[tuple[Any, ...]]:
        """Return the shapes of the first batches, where they may have several."""
        task = self.task
        if task.collate is None and task.batches is None and task.sampler is None:
            return set()
        if self._shapes is None:
            streams, steps = Streams.of(task.seed), range(min(_LOOKED_AT, task.steps))
            self._shapes = {_shape(self.anew(streams, step)) for step in steps}
        return self._shapes

    def _made(self, streams: Streams, number: int, step: int) -> Batch:
        indices: Tensor | None = None
        try:
            if self._given is not None:
                batch = self._place(plain(self._given.batch(streams, number)))
                epoch, indices = number, torch.arange(_rows(batch))
            else:
                epoch, indices = order_of(self.task).find(streams.order, number)
                batch = self._fetch(indices, streams.augmentation, epoch, number)
            if self.task.augment is not None:
                own = draws(streams.augmentation, epoch, indices, self.device)
                batch = self.task.augment(batch, own)
        except RequestError:
            raise
        except Exception as error:
            rows = None if indices is None or self._given is not None else indices.tolist()[:8]
            where = "" if rows is None else f" (samples {rows}…)"
            msg = (
                f"the training data failed at step {step}{where}: "
                f"{type(error).__name__}: {error}. What was recorded before is kept; mend the "
                "data set and run the same command again to go on."
            )
            raise RunError(msg) from error
        return batch

    def _fetch(self, indices: Tensor, augmentation: int, epoch: int, number: int) -> Batch:
        if self._tensors is not None:
            here = sent(indices, self.device)
            return self._rows(here)
        samples = []
        for index in indices.tolist():
            with seeded(derive(augmentation, epoch, index)):
                samples.append(self.task.data[index])
        if self.task.collate is None:
            return self._place(joined(self.task.data, samples))
        with seeded(derive(augmentation, "fetch", number)):  # a collate may draw masks
            return self._place(joined(self.task.data, samples))

    def _rows(self, here: Tensor) -> Batch:
        """Return rows of all tensors of the data."""
        if self._plain:
            return tuple(t.index_select(0, here) for t in self._tensors)
        return pytree.tree_map(lambda t: t[here], self._tensors)


def _shape(batch: Batch) -> tuple[Any, ...]:
    leaves = pytree.tree_leaves(batch)
    return tuple(tuple(t.shape) if isinstance(t, torch.Tensor) else () for t in leaves)


def _rows(batch: Batch) -> int:
    leaves = [t for t in pytree.tree_leaves(batch) if isinstance(t, torch.Tensor) and t.dim()]
    return len(leaves[0]) if leaves else 0


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the processor's on a device, without waiting for it to arrive.

    >>> sent(torch.arange(2), torch.device("cpu"))
    tensor([0, 1])
    """
    if device.type == "cpu":
        return tensor
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def draws(
    seed: int, epoch: int, samples: Tensor, device: torch.device | str = "cpu"
) -> Callable[[int], Tensor]:
    """Return a source of uniforms whose row ``i`` depends on ``(seed, epoch, samples[i])`` alone.

    The returned function gives ``(len(samples), k)`` float64 numbers in [0, 1), new ones at
    each call, on a device. A counter-based generator (SplitMix64, Steele, Lea and Flood 2014)
    needs no state, so it cannot matter which samples share a batch.

    >>> a = draws(0, 1, torch.tensor([5, 7]))(3)
    >>> b = draws(0, 1, torch.tensor([7, 9]))(3)
    >>> bool((a[1] == b[0]).all()), tuple(a.shape)
    (True, (2, 3))
    """
    start = np.uint64(derive(seed, "draws", epoch))
    rows = _mix(start + samples.numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    taken = 0

    def uniforms(count: int) -> Tensor:
        """Return the next ``(len(samples), count)`` numbers."""
        nonlocal taken
        columns = np.arange(taken + 1, taken + count + 1, dtype=np.uint64)
        taken += count
        bits = _mix(rows[:, None] + columns * np.uint64(0xD1B54A32D192ED03))
        found = torch.from_numpy((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)
        return sent(found, torch.device(device))

    return uniforms


def _mix(x: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def placer(dtype: torch.dtype, device: torch.device) -> Callable[[Any], Any]:
    """Return a function that moves the tensors of a batch to a device, floats to a dtype."""

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return leaf.to(device, dtype) if leaf.is_floating_point() else leaf.to(device)

    return lambda batch: pytree.tree_map(place, batch)


def is_plain(batch: Any) -> bool:
    """Tell whether a batch is a tuple of tensors and no more.

    >>> is_plain((torch.ones(1),)), is_plain({"x": torch.ones(1)}), is_plain((1, 2))
    (True, False, False)
    """
    return type(batch) is tuple and all(type(t) is torch.Tensor for t in batch)


def flattened(batch: Batch) -> tuple[list[Any], Any]:
    """Return a batch's leaves and what they are leaves of, as ``pytree.tree_flatten`` does.

    >>> leaves, spec = flattened((torch.ones(1), torch.zeros(1)))
    >>> spec == pytree.tree_structure((0, 0))
    True
    """
    if is_plain(batch):  # by far the most, and a step of a small net would notice
        return list(batch), _tuple_of(len(batch))
    return pytree.tree_flatten(batch)


@lru_cache(maxsize=64)
def _tuple_of(count: int) -> Any:
    return pytree.tree_structure((0,) * count)


def only_tensors(leaves: Sequence[Any]) -> None:
    """Refuse a batch of which a part cannot be put into a recording: text, sparse tensors.

    Raises:
        DriverError: names the part's kind; the loop driver takes such batches.
    """
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            msg = f"the batch holds a {type(leaf).__name__}, and lock step takes tensors only"
            raise DriverError(msg)
        if leaf.layout is not torch.strided:
            msg = (
                f"the batch holds a tensor of layout {leaf.layout}, and lock step takes dense ones"
            )
            raise DriverError(msg)


def copied(batch: Batch) -> Batch:
    """Return a batch of the same values that a model may change in place."""
    return pytree.tree_map(lambda t: t.clone() if isinstance(t, torch.Tensor) else t, batch)


def eval_batches(data: Any, batch_size: int, place: Callable[[Any], Any]) -> Any:
    """Yield ``(batch, count)`` over evaluation data in order, without randomness."""
    size = len_of(data)
    for start in range(0, size, batch_size):
        rows = slice(start, min(start + batch_size, size))
        yield place(_cut(data, rows)), rows.stop - rows.start


def _cut(data: Any, rows: slice) -> Any:
    if is_tensors(data):
        return pytree.tree_map(lambda t: t[rows], data)
    with seeded(0):
        return joined(data, [data[i] for i in range(rows.start, rows.stop)])
