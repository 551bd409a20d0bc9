"""Inner products of checkpoints too large for memory, block by block, in float64.

Sums over quanta are taken in the order of the file, so the result has the same bits whatever the
memory and the threads; how much a quantum and a block are, `wingbeat.checkpoints.read_plan` says.
"""

from __future__ import annotations

import queue
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from wingbeat.checkpoints.buffers import ReadBuffers
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from wingbeat.checkpoints.names import Shared
    from wingbeat.checkpoints.read_plan import ReadPlan


def grams(
    shared: Sequence[Shared],
    plan: ReadPlan,
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
    idle: queue.SimpleQueue[ReadBuffers] = queue.SimpleQueue()
    for _ in range(plan.workers):
        idle.put(ReadBuffers(plan))

    def work(tensor: Shared, start: int, stop: int) -> Array:
        buffers = idle.get()
        try:
            return buffers.products(tensor, start, stop)
        finally:
            idle.put(buffers)

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
