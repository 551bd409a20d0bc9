"""Install a built wheel into a new environment, away from the repository, and use it there.

``python -m tests.wheel DIST [PYTHON …]`` from the root of the repository, after ``make wheel`` has
built ``DIST``. Each interpreter gets an environment of its own; without any it is this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "constraints.txt"
TORCH = os.environ.get("TORCH_INDEX", "https://download.pytorch.org/whl/cpu")

OWN_MODEL = """
import sys
import torch, wingbeat as wb
from torch import nn
import torch.nn.functional as F

x = torch.randn(256, 8); y = (x[:, 0] * x[:, 1] > 0).long()
task = wb.Task(lambda: nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2)),
               lambda m, b: F.cross_entropy(m(b[0]), b[1]), (x, y),
               lambda p: torch.optim.SGD(p, lr=0.1), batch_size=32, steps=40)
result = wb.run(task, wb.Gaussian(0.01), replicas=3, record_every=10, out="run")
result.report("own.html")
assert result.noise_floor == 0.0, result.noise_floor
assert "/site-packages/" in wb.__file__, wb.__file__
print("Python", sys.version.split()[0], result)
"""


def main(dist: str, pythons: list[str]) -> int:
    """Try the newest wheel of a folder under each interpreter; return the exit code."""
    wheel = max(Path(dist).resolve().glob("wingbeat-*.whl"), key=lambda file: file.stat().st_mtime)
    for python in pythons or [sys.executable]:
        with tempfile.TemporaryDirectory(prefix="wingbeat-wheel-") as folder:
            _try(wheel, python, Path(folder))
    return 0


def _try(wheel: Path, python: str, folder: Path) -> None:
    environment = folder / "environment"
    subprocess.run([python, "-m", "venv", environment], check=True)
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command: str | Path) -> None:
        print("==", " ".join(str(part) for part in command)[:100], flush=True)
        subprocess.run(command, cwd=folder, env=own, check=True)

    pip = (environment / "bin" / "python", "-m", "pip", "install", "-q", "-c", PINS)
    run(*pip, "--no-deps", "--retries", "1", "--extra-index-url", TORCH, "torch")
    run(*pip, wheel)
    run(environment / "bin" / "wingbeat", "--version")
    run(environment / "bin" / "python", "-c", OWN_MODEL)
    run(environment / "bin" / "wingbeat", "report", "run")
    for written in ("own.html", "run/report.html"):
        if not (folder / written).stat().st_size:
            raise SystemExit(f"{written} is empty")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
