"""Seeds derived by name, private random streams, and the fingerprint of an execution.

Every random number in wingbeat comes from a seed that is a pure function of what it is
for: ``derive(seed, "order", epoch)`` gives the same number on every machine, so that no
stream has a position that could be lost by a kill or shifted by another stream.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import random
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from wingbeat.kernels import safe_kernels
from wingbeat.products import products
from wingbeat.turn import alone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

FINGERPRINT_DECIDES = (
    "torch",
    "driver",
    "mode",
    "chunk",
    "spare",
    "dtype",
    "device",
    "device_name",
    "threads",
    "cpu_capability",
    "deterministic_algorithms",
    "float32_matmul_precision",
    "mkl_cbwr",
    "mkl_isa",
    "onednn",
    "onednn_isa",
)
"""Fields of the fingerprint that can change the bits of a result."""


def derive(seed: int, *words: str | int) -> int:
    """Return a seed in [0, 2**63) that is a pure function of ``seed`` and ``words``.

    >>> derive(0, "order", 3) == derive(0, "order", 3)
    True
    >>> derive(0, "order", 3) == derive(0, "order", 4)
    False
    """
    text = json.dumps([seed, *words], ensure_ascii=True)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


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
        with torch.random.fork_rng():
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


def fingerprint(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Describe the part of an execution that is not in the request but can change bits.

    The way a step is executed is itself a perturbation: another thread count, driver or
    version starts a divergence of its own. Returns JSON-safe values; the driver adds its
    own choices (``driver``, ``mode``, ``chunk``, ``spare``).

    >>> fingerprint(torch.device("cpu"), torch.float64)["dtype"]
    'float64'
    """
    return {
        "wingbeat": _own_version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": device.type,
        "device_name": _device_name(device),
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "mkl_cbwr": products(),
        "mkl_isa": os.environ.get("MKL_ENABLE_INSTRUCTIONS", ""),
        "onednn": bool(torch.backends.mkldnn.enabled),
        "onednn_isa": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
    }


def differing_field(then: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Return the first field that decides bits and differs, or None.

    >>> differing_field({"threads": 1}, {"threads": 2})
    'threads'
    """
    for name in FINGERPRINT_DECIDES:
        if name in then and then[name] != now.get(name):
            return name
    return None


@contextlib.contextmanager
def deterministic_algorithms(model: nn.Module | None = None) -> Iterator[None]:
    """Ask torch for deterministic and safe kernels within a block, then restore the setting.

    On CUDA this also needs a cuBLAS workspace setting, which is put in place here before
    the first kernel runs. Only warnings are raised for operations that have no
    deterministic form: the null twin then shows whether it mattered.
    """
    with alone():
        yield from _switched(model)


def _switched(model: nn.Module | None) -> Iterator[None]:
    settings: Any = torch.utils.deterministic
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = settings.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Filling fresh memory costs time in every operation; no step of ours reads it.
        settings.fill_uninitialized_memory = False
        with safe_kernels(model):
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
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


def _own_version() -> str:
    return version("wingbeat")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            names = (
                line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
            )
            return next(names, platform.processor())
    except OSError:  # not Linux
        return platform.processor()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""
