"""Inner products of checkpoints too large for memory, block by block, in float64.

A *quantum* is what is read and multiplied at once, small enough to stay in the cache of a
processor; a *block* is what a thread takes at once. Both depend on the number of checkpoints
alone, and sums over quanta are taken in the order of the file, so the result has the same bits
whatever the memory and the threads.
"""

from __future__ import annotations

import queue
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wingbeat.checkpoints.buffers import ReadBuffers
from wingbeat.checkpoints.memory import show_memory
from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from wingbeat.checkpoints.names import Shared

    Array = NDArray[np.float64]

WORKERS = 2
"""Threads that read and multiply; each holds one quantum of every checkpoint."""
_CACHED = 1 << 16  # numbers of all checkpoints together: as float64 a quarter of 2 MiB of cache
_FEWEST = 1 << 13  # of one checkpoint: below, the calls take longer than the products
_TAKEN = 1 << 21  # numbers of all checkpoints that a thread takes at once


@dataclass(frozen=True)
class Plan:
    """How much is read and multiplied at once.

    Attributes:
        count: of checkpoints.
        quantum: numbers of a checkpoint that are read and multiplied at once.
        block: numbers of a checkpoint that a thread takes at once, a multiple of ``quantum``.
        workers: threads.
        width: bytes of the widest number.
    """

    count: int
    quantum: int
    block: int
    workers: int
    width: int

    @property
    def bytes(self) -> int:
        """Memory that the buffers take."""
        return self.workers * _worker_bytes(self.count, self.width)


def make_plan(count: int, width: int, memory: int, *, workers: int = WORKERS) -> Plan:
    """Choose the threads so that all buffers together stay within ``memory`` bytes.

    Raises:
        RequestError: even one thread takes more; the message says how much is needed.

    >>> make_plan(2, 2, 2**30).workers, make_plan(2, 2, 2**20).workers
    (2, 1)
    """
    least = _worker_bytes(count, width)
    if least > memory:
        msg = (
            f"{show_memory(memory)} of memory do not hold the smallest block of {count} "
            f"checkpoints: allow {show_memory(least)} more than that, or compare fewer at once"
        )
        raise RequestError(msg)
    used = max(1, min(workers, memory // least))
    return Plan(count, quantum_of(count), block_of(count), used, width)


def quantum_of(count: int) -> int:
    """Return how many numbers of each of ``count`` checkpoints are multiplied at once.

    >>> quantum_of(2), quantum_of(8), quantum_of(50)
    (32768, 8192, 8192)
    """
    fitting = max(1, _CACHED // count)
    return max(_FEWEST, 1 << (fitting.bit_length() - 1))


def block_of(count: int) -> int:
    """Return how many numbers of each of ``count`` checkpoints a thread takes at once.

    >>> block_of(2), block_of(50)
    (1048576, 40960)
    """
    quantum = quantum_of(count)
    return quantum * max(1, _TAKEN // (count * quantum))


def _worker_bytes(count: int, width: int) -> int:
    quantum = quantum_of(count)
    products = (block_of(count) // quantum + 1) * count * count * 8
    return count * quantum * (width + 8) + products


def grams(
    shared: Sequence[Shared],
    plan: Plan,
    tick: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[int, Array]]:
    """Yield for every tensor its place and the inner products of its points, in order.

    The points are: of the first checkpoint the tensor w₀ itself, of every other its difference
    wᵢ − w₀. So a distance of 1e-9 keeps its relative precision beside weights of size 1.

    Args:
        shared: the tensors.
        plan: made for this number of checkpoints.
        tick: called with the count of bytes read since the last call.

    Yields:
        ``(place, (n, n))``, float64; rows of a checkpoint that is not finite are NaN.

    Raises:
        StoreError: a file is cut short or cannot be read.
    """
    desks: queue.SimpleQueue[ReadBuffers] = queue.SimpleQueue()
    for _ in range(plan.workers):
        desks.put(ReadBuffers(plan))

    def work(tensor: Shared, start: int, stop: int) -> Array:
        desk = desks.get()
        try:
            return desk.products(tensor, start, stop)
        finally:
            desks.put(desk)

    with _single_threaded(), ThreadPoolExecutor(plan.workers, initializer=_one_thread) as pool:
        waiting: deque[tuple[int, int, bool, Future[Array]]] = deque()
        total = np.zeros((plan.count, plan.count))
        for place, tensor, start, stop in _jobs(shared, plan.block):
            while len(waiting) > plan.workers:
                total, done = _gather(waiting.popleft(), total, tick)
                if done is not None:
                    yield done
            task = pool.submit(work, tensor, start, stop)
            size = (stop - start) * sum(e.torch_dtype.itemsize for e in tensor.entries)
            waiting.append((place, size, stop == tensor.numbers, task))
        while waiting:
            total, done = _gather(waiting.popleft(), total, tick)
            if done is not None:
                yield done


def _jobs(shared: Sequence[Shared], block: int) -> Iterator[tuple[int, Shared, int, int]]:
    for place, tensor in enumerate(shared):
        for start in range(0, max(1, tensor.numbers), block):
            yield place, tensor, start, min(start + block, tensor.numbers)


def _gather(
    job: tuple[int, int, bool, Future[Array]], total: Array, tick: Callable[[int], None]
) -> tuple[Array, tuple[int, Array] | None]:
    """Add a block's products, one quantum after the other; return the tensor's if it is done."""
    place, size, last, task = job
    for part in task.result():
        total = total + part
    tick(size)
    if not last:
        return total, None
    # A matrix product need not be symmetric to the last bit.
    return np.zeros_like(total), (place, (total + total.T) / 2.0)


def _one_thread() -> None:
    torch.set_num_threads(1)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Let every product run on the thread that asks for it: another count gives other bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
