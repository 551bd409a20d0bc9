"""``python -m tests.processors COMMAND …``: run a command as if on an AMD EPYC of Zen 3.

Where that cannot be done the command runs with AVX2 kernels instead, and the reason is printed.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.processors.zen3 import AVX2, zen3


def main(command: list[str]) -> int:
    """Run a command with the other processor's answers; return its exit code."""
    other = zen3()
    if other.why_not:
        print(f"== AVX2 kernels only, not the answers of Zen 3: {other.why_not}", flush=True)
    else:
        print("== CPUID answers as an AMD EPYC of Zen 3 does", flush=True)
    return subprocess.run(
        command, env=os.environ | (other.environment or AVX2), check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
