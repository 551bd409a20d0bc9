"""Leave out a kernel that writes beyond its result.

oneDNN's gradient of a strided 1 x 1 convolution of fewer than eight channels
(``brgconv_strided:avx2``, backward data, channels last) overwrites memory and ends the process
on processors without AVX-512; seen with torch 2.13.0. Models that have one train without oneDNN
there, which the fingerprint says.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

_VECTOR: Final = 8  # single floats in an AVX2 register: channels below it leave a remainder


def unsafe_convolution(model: nn.Module) -> str:
    """Return the name of the first convolution that the kernel would be chosen for, or "".

    >>> unsafe_convolution(nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 1, stride=2)))
    '1'
    """
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            small = module.in_channels // module.groups < _VECTOR
            if small and max(module.stride) > 1 and max(module.kernel_size) == 1:
                return str(name)
    return ""


def has_the_kernel() -> bool:
    """Tell whether oneDNN would use AVX2 kernels here."""
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    capability = torch.backends.cpu.get_cpu_capability()
    return "AVX512" not in capability or (allowed != "" and "AVX512" not in allowed)


@contextlib.contextmanager
def safe_kernels(model: nn.Module | None) -> Iterator[None]:
    """Run a block without oneDNN where a model would make it overwrite memory."""
    mkldnn: Any = torch.backends.mkldnn
    if model is None or not has_the_kernel() or not unsafe_convolution(model):
        yield
        return
    enabled = mkldnn.enabled
    try:
        mkldnn.enabled = False
        yield
    finally:
        mkldnn.enabled = enabled
