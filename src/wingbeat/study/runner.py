"""Who does the work: this process, several, a Ray cluster or Slurm, behind one small protocol.

A runner knows nothing of studies: it maps a picklable function over conditions and yields what
comes back as it comes back. Results of the work itself lie in the study's folder or in an object
store, so a runner on a cluster needs these few lines of contract and nothing else.
``wingbeat.testing.runners`` checks them, for runners of others too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from wingbeat.errors import RequestError, nearest
from wingbeat.study.inline import InlineRunner
from wingbeat.study.processes import ProcessRunner, processors
from wingbeat.study.protocol import Runner, Work

RUNNERS: Final = ("inline", "processes", "ray", "slurm")


def make_runner(
    name: str,
    *,
    workers: int | None = None,
    ray_address: str | None = None,
    resources: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Runner:
    """Return a runner by name.

    Args:
        name: "inline", "processes", "ray" or "slurm".
        workers: conditions at a time; None leaves it to the runner.
        ray_address: of a running Ray cluster; None starts one on this machine.
        resources: what a condition needs, as ``RayRunner(resources=…)`` or
            ``SlurmRunner(options=…)`` take it; None or nothing is their default.
        folder: where "slurm" keeps its job files, on a disk that all nodes see.

    Raises:
        RequestError: an unknown name, an option that does not fit it, or a library is missing.

    Example:
        >>> type(make_runner("processes", workers=2)).__name__
        'ProcessRunner'
    """
    if name not in RUNNERS:
        raise RequestError(f"unknown runner {name!r}: {nearest(name, RUNNERS)}")
    if ray_address is not None and name != "ray":
        raise RequestError(f"a Ray address belongs to the runner 'ray', and {name!r} was chosen")
    if resources and name not in ("ray", "slurm"):
        msg = f"resources belong to the runners 'ray' and 'slurm', and {name!r} was chosen"
        raise RequestError(msg)
    if name == "inline":
        if workers not in (None, 1):
            raise RequestError(f"workers is {workers}: 'inline' has one; choose 'processes'")
        return InlineRunner()
    if name == "processes":
        return ProcessRunner(workers)
    if name == "ray":
        from wingbeat.study.ray_runner import RayRunner

        return RayRunner(ray_address, workers=workers, resources=resources or None)
    from wingbeat.study.slurm_runner import SlurmRunner

    return SlurmRunner(folder or Path("jobs"), workers=workers, options=resources)


__all__ = [
    "RUNNERS",
    "InlineRunner",
    "ProcessRunner",
    "Runner",
    "Work",
    "make_runner",
    "processors",
]
