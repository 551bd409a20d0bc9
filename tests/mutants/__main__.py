"""Plant each fault in a copy of the source, run its quick tests, and count what they notice.

``python -m tests.mutants [WORD …]`` from the root of the repository; words choose faults by name
or file. Exit code 1 if a fault goes unnoticed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants import faults, two_phase
from tests.mutants.faults import Fault

FAULTS = [*faults.FAULTS, *two_phase.FAULTS]
ROOT = Path(__file__).resolve().parents[2]
LONGEST = 120
"""Seconds after which the tests of one fault are stopped; a fault that hangs them is noticed."""


def main(words: list[str]) -> int:
    """Plant the chosen faults one after the other; return the exit code."""
    chosen = [f for f in FAULTS if not words or any(w in f.name or w in f.file for w in words)]
    missed, start = [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wingbeat-mutants-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        for tests in dict.fromkeys(f.tests for f in chosen):
            if not passes(source, tests):
                print(f"NOT GREEN before any fault: {' '.join(tests)}")
                return 2
        for place, fault in enumerate(chosen, 1):
            noticed = not passes(source, fault.tests, fault, place)
            print(f"[{place}/{len(chosen)}] {'noticed' if noticed else 'MISSED '} {fault.name}")
            missed += [] if noticed else [fault]
    took = time.monotonic() - start
    print(f"{len(chosen) - len(missed)} of {len(chosen)} faults noticed, in {took:.0f} s")
    for fault in missed:
        print(f"missed: {fault.file}: {fault.name}")
    return bool(missed)


def passes(source: Path, tests: tuple[str, ...], fault: Fault | None = None, age: int = 0) -> bool:
    """Return whether tests pass with a source, with a fault planted in it if one is given."""
    if fault is None:
        return _run(source, tests)
    path = source / "wingbeat" / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        raise SystemExit(f"{fault.file} holds {fault.old!r} {text.count(fault.old)} times")
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    # Two writes within a second and of equal length would look alike to Python's cache.
    os.utime(path, (age, age))
    try:
        return _run(source, tests)
    finally:
        path.write_text(text, encoding="utf-8")


def _run(source: Path, tests: tuple[str, ...]) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider",
               "-m", "not slow", *(str(ROOT / "tests" / t) for t in tests)]  # fmt: skip
    paths = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
    own = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(
            command, cwd=ROOT, env=own, timeout=LONGEST, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    # Anything but failed or passed tests says nothing about the fault: no test ran.
    if ended.returncode not in (0, 1, 2):
        raise SystemExit(ended.stdout.decode() + ended.stderr.decode())
    return ended.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
