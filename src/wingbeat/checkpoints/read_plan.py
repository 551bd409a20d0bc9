"""How much of checkpoints too large for memory is read and multiplied at once.

A *quantum* is what is read and multiplied at once, small enough to stay in the cache of a
processor; a *block* is what a thread takes at once. Both depend on the number of checkpoints
alone, so that sums over them have the same bits whatever the memory and the threads.
"""

from __future__ import annotations

from dataclasses import dataclass

from wingbeat.checkpoints.memory import show_memory
from wingbeat.errors import RequestError

WORKERS = 2
"""Threads that read and multiply; each holds one quantum of every checkpoint."""
_CACHED = 1 << 16  # numbers of all checkpoints together: as float64 a quarter of 2 MiB of cache
_FEWEST = 1 << 13  # of one checkpoint: below, the calls take longer than the products
_TAKEN = 1 << 21  # numbers of all checkpoints that a thread takes at once


@dataclass(frozen=True)
class ReadPlan:
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


def make_plan(count: int, width: int, memory: int, *, workers: int = WORKERS) -> ReadPlan:
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
    return ReadPlan(count, quantum_of(count), block_of(count), used, width)


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
