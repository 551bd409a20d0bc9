"""The fingerprint of an execution: what is not in the request and can change bits.

The way a step is executed is itself a perturbation: another processor, thread count, version or
switch of a library starts a divergence of its own. A run is never continued under another
fingerprint.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Callable
from typing import Any, Final

import torch

from wingbeat.products import products
from wingbeat.version import __version__

FINGERPRINT_DECIDES: Final = (
    "torch",
    "driver",
    "mode",
    "chunk",
    "spare",
    "dtype",
    "device",
    "device_name",
    "processor",
    "threads",
    "cpu_capability",
    "deterministic_algorithms",
    "float32_matmul_precision",
    "fp32_precision",
    "default_dtype",
    "denormals",
    "attention",
    "mkl_cbwr",
    "mkl_isa",
    "onednn",
    "onednn_isa",
    "library_variables",
    "python_optimised",
    "cuda",
)
"""Fields of the fingerprint that can change the bits of a result."""
_VARIABLES: Final = (
    *("MKL_NUM_THREADS", "MKL_DOMAIN_NUM_THREADS", "MKL_DYNAMIC", "OMP_DYNAMIC"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "TORCH_DISABLE_MKLDNN"),
    *("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG"),
    *("CUDNN_DETERMINISTIC", "TORCH_CUDNN_V8_API_DISABLED", "DISABLE_ADDMM_CUDA_LT"),
)
"""Variables of the environment by which MKL, oneDNN, OpenMP, cuBLAS and cuDNN choose kernels."""
_PRECISIONS: Final = (
    *("fp32_precision", "mkldnn.matmul.fp32_precision", "mkldnn.conv.fp32_precision"),
    *("mkldnn.rnn.fp32_precision",),
)
_CUDA: Final = (
    *("cudnn.enabled", "cudnn.benchmark", "cudnn.deterministic", "cudnn.allow_tf32"),
    *("cudnn.conv.fp32_precision", "cudnn.rnn.fp32_precision", "cuda.matmul.allow_tf32"),
    *("cuda.matmul.fp32_precision", "cuda.matmul.allow_fp16_reduced_precision_reduction"),
    "cuda.matmul.allow_bf16_reduced_precision_reduction",
    "cuda.matmul.allow_fp16_accumulation",
)
_ATTENTION: Final = ("flash_sdp", "mem_efficient_sdp", "math_sdp", "cudnn_sdp")
_DENORMAL: Final = 1e-39  # below the smallest normal number of float32, 1.2e-38


def fingerprint(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Describe the part of an execution that is not in the request but can change bits.

    Returns JSON-safe values; the driver adds its own choices (``driver``, ``mode``, ``chunk``,
    ``spare``).

    >>> fingerprint(torch.device("cpu"), torch.float64)["dtype"]
    'float64'
    """
    return {
        "wingbeat": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "python_optimised": sys.flags.optimize,
        "platform": platform.platform(),
        "processor": processor_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": device.type,
        "device_name": _device_name(device),
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": _asked(torch.get_float32_matmul_precision),
        "fp32_precision": _precisions(),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "denormals": bool((torch.tensor(_DENORMAL, dtype=torch.float32) * 0.5) != 0.0),
        "attention": [n for n in _ATTENTION if getattr(torch.backends.cuda, f"{n}_enabled")()],
        "mkl_cbwr": products(),
        "mkl_isa": os.environ.get("MKL_ENABLE_INSTRUCTIONS", ""),
        "onednn": bool(torch.backends.mkldnn.enabled),
        "onednn_isa": _first_set("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
        "library_variables": {n: os.environ[n] for n in _VARIABLES if _decides(n, device)},
        "cuda": _cuda() if device.type == "cuda" else {},
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


def warn_of_lost_asserts() -> tuple[str, ...]:
    """Return a warning where Python leaves ``assert`` statements out."""
    if not sys.flags.optimize:
        return ()
    warning = (
        "Python runs with -O: assert statements, and what stands under __debug__, in the code of "
        "the task and of its libraries are left out, so that what they would have stopped goes on "
        "unseen. wingbeat's own checks are no asserts and do run"
    )
    return (warning,)


def _cuda() -> dict[str, Any]:
    """Return versions and switches of the libraries on a GPU."""
    return {
        "version": torch.version.cuda or torch.version.hip or "",
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "capability": list(torch.cuda.get_device_capability()),
        "linalg": str(torch.backends.cuda.preferred_linalg_library()),
        "blas": str(torch.backends.cuda.preferred_blas_library()),
        **_settings(_CUDA),
    }


def _precisions() -> dict[str, Any]:
    """Return the precisions of oneDNN: what is not set of its own is the general one, or exact."""
    found = _settings(_PRECISIONS)
    general = found.get("fp32_precision", "none")
    general = "ieee" if general == "none" else general
    return {place: general if value == "none" else value for place, value in found.items()}


def _settings(places: tuple[str, ...]) -> dict[str, Any]:
    """Return settings below ``torch.backends``; those that this version lacks are left out."""
    found: dict[str, Any] = {}
    for place in places:
        owner: Any = torch.backends
        *path, name = place.split(".")
        for part in path:
            owner = getattr(owner, part, None)
        value = _asked(functools.partial(getattr, owner, name, None))
        if value is not None:
            found[place] = value
    return found


def _asked(question: Callable[[], Any]) -> Any:
    """Return a setting; torch refuses to say it where its old and new switches were mixed."""
    try:
        return question()
    except RuntimeError:
        return "mixed"


def _decides(variable: str, device: torch.device) -> bool:
    """Tell whether a variable is set and about this device; those of CUDA say nothing on others."""
    gpu = any(word in variable for word in ("CUBLAS", "NVIDIA", "CUDNN", "CUDA"))
    return variable in os.environ and (device.type == "cuda" or not gpu)


def _first_set(*variables: str) -> str:
    return next((os.environ[name] for name in variables if name in os.environ), "")


def processor_name() -> str:
    """Return the model of this machine's processor, as its system names it."""
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
