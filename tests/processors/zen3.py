"""Run a command as if on an AMD EPYC of Zen 3: its libraries choose the kernels they choose there.

On fea0aa4, of which a report from a real EPYC lists fourteen failing tests by name (nine of
test_null_twin, two of test_danovski, one each of test_batches, test_remembered and
test_sharpness_metric), the same fourteen fail this way.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("zen3.c")
REFUSED = 77
"""Status with which a process ends in which the kernel does not let CPUID fault."""
AVX2 = {
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
"""The next best: the instructions of that processor, though not its makers' choice of kernels."""


class Zen3(NamedTuple):
    """What a command needs in its environment, and why it may not be had.

    Attributes:
        environment: variables to add; empty where it cannot be done.
        why_not: the reason, empty where it can.
    """

    environment: dict[str, str]
    why_not: str


@cache
def zen3() -> Zen3:
    """Build the library once for this user, and try it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if platform.system() != "Linux" or platform.machine() != "x86_64" or compiler is None:
        return Zen3({}, "it takes Linux on x86_64, and a C compiler")
    library = Path(tempfile.mkdtemp(prefix="wingbeat-zen3-")) / "zen3.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        return Zen3({}, f"{compiler} failed: {built.stderr.strip()}")
    environment = {"LD_PRELOAD": str(library)}
    tried = subprocess.run(["/bin/true"], env=os.environ | environment, check=False)
    if tried.returncode == REFUSED:
        return Zen3({}, "this processor or kernel does not let CPUID fault")
    return Zen3(environment, "")
