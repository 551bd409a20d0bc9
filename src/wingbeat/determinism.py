"""Seeds derived by name, private random streams, and deterministic kernels.

Every random number in wingbeat comes from a seed that is a pure function of what it is
for: ``derive(seed, "order", epoch)`` gives the same number on every machine, so that no
stream has a position that could be lost by a kill or shifted by another stream.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from wingbeat.generators import kept_generators
from wingbeat.kernels import safe_kernels
from wingbeat.turn import alone
from wingbeat.unneeded_compiler import switch_deterministic, unneeded_compiler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


def derive(seed: int, *words: str | int) -> int:
    """Return a seed in [0, 2**63) that is a pure function of ``seed`` and ``words``.

    >>> derive(0, "order", 3) == derive(0, "order", 3)
    True
    >>> derive(0, "order", 3) == derive(0, "order", 4)
    False
    """
    # What json.dumps writes of a list, in half the time: a step of a small net derives several.
    text = f"[{', '.join([_json(word) for word in (seed, *words)])}]"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _json(word: str | int) -> str:
    return str(word) if type(word) is int else json.dumps(word)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with Python's, NumPy's and torch's generators seeded, then restore them.

    They are one for the process: other threads that would seed them wait until the block has ended.

    Example:
        >>> with seeded(0):
        ...     first = torch.rand(1)
        >>> with seeded(0):
        ...     bool(torch.rand(1) == first)
        True
    """
    with alone():
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (user code draws)
        with kept_generators():
            try:
                seed_all(seed)
                yield
            finally:
                random.setstate(python)
                np.random.set_state(numpy)  # noqa: NPY002


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    seed_torch(seed)


def seed_torch(seed: int) -> None:
    """Seed torch's global generators on the processor and on accelerators in use.

    ``torch.manual_seed`` does the same, but where an accelerator could exist and is not in
    use it stores a stack trace for later, which takes longer than a step of a small network.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


@contextlib.contextmanager
def deterministic_algorithms(model: nn.Module | None = None) -> Iterator[None]:
    """Ask torch for deterministic and safe kernels within a block, then restore the setting.

    On CUDA this also needs a cuBLAS workspace setting, which is put in place here before
    the first kernel runs. Only warnings are raised for operations that have no
    deterministic form: the null twin then shows whether it mattered.
    """
    with alone(), unneeded_compiler():
        yield from _switched(model)


def _switched(model: nn.Module | None) -> Iterator[None]:
    settings: Any = torch.utils.deterministic
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = settings.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        switch_deterministic(True, warn_only=True)
        # Filling fresh memory costs time in every operation; no step of ours reads it.
        settings.fill_uninitialized_memory = False
        with safe_kernels(model):
            yield
    finally:
        switch_deterministic(enabled, warn_only=warn_only)
        settings.fill_uninitialized_memory = fill


@contextlib.contextmanager
def evaluation() -> Iterator[None]:
    """Evaluate without gradients, with fixed random numbers and attention that can be stacked."""
    with alone():
        fast = torch.backends.mha.get_fastpath_enabled()
        # It has no rule for stacks, and runs past the hooks of the modules inside.
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.no_grad(), seeded(0), sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
