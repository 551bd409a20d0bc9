"""Runners by name: each declares itself, with what it can be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wingbeat.errors import RequestError
from wingbeat.plugins import Registry
from wingbeat.study.runner.protocol import Runner

Make = Callable[..., Runner]

OPTIONS: Final[Mapping[str, str]] = {
    "workers": "a number of workers belongs",
    "ray_address": "a Ray address belongs",
    "resources": "resources belong",
    "folder": "a folder for job files belongs",
}
"""What a study can tell a runner, and how a message says that one does not take it."""
_ALWAYS: Final = ("folder",)
"""A study always has one, and most runners have no use for it."""


@dataclass(frozen=True)
class RunnerKind:
    """A way to run many conditions.

    Attributes:
        name: how it is asked for.
        function: makes the runner from those options that it takes, by keyword.
        takes: of `OPTIONS`.
        caption: what it is, in a line.
        at_a_time: conditions at a time if it is not told; None if that depends on the machine.
    """

    name: str
    function: Make
    takes: tuple[str, ...] = ()
    caption: str = ""
    at_a_time: int | None = None


RUNNERS: Final[Registry[RunnerKind]] = Registry(
    "wingbeat.runners",
    "runner",
    lambda found: isinstance(found, RunnerKind),
    "wingbeat.study.runner",
)
"""Every runner by name."""


def runner(
    name: str, *, takes: tuple[str, ...] = (), caption: str = "", at_a_time: int | None = None
) -> Callable[[Make], RunnerKind]:
    """Declare the function that makes a runner.

    Args:
        name: how it is asked for, on the command line and in ``Study.run``.
        takes: which of `OPTIONS` the function takes.
        caption: what it is, in a line.
        at_a_time: conditions at a time if it is not told; None if that depends on the machine.

    Raises:
        RequestError: the name is taken, or an option is unknown.

    Example:
        >>> @runner("backwards", takes=("workers",), caption="The last condition first.")
        ... def backwards(workers):
        ...     raise NotImplementedError
        >>> RUNNERS.find("backwards").takes
        ('workers',)
    """
    unknown = [option for option in takes if option not in OPTIONS]
    if unknown:
        known = ", ".join(OPTIONS)
        raise RequestError(f"runner {name!r} takes {unknown[0]!r}: use some of {known}")

    def declare(function: Make) -> RunnerKind:
        return RUNNERS.add(name, RunnerKind(name, function, tuple(takes), caption, at_a_time))

    return declare


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
        name: "inline", "processes", "ray", "slurm", or one that a package declares.
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
    kind = RUNNERS.find(name)
    told = {
        "workers": workers,
        "ray_address": ray_address,
        "resources": resources or None,
        "folder": folder,
    }
    for option, value in told.items():
        if value is not None and option not in kind.takes and option not in _ALWAYS:
            takers = sorted(k.name for k in RUNNERS if option in k.takes)
            names = ("runners " if len(takers) > 1 else "runner ") + " and ".join(map(repr, takers))
            raise RequestError(f"{OPTIONS[option]} to the {names}, and {name!r} was chosen")
    return kind.function(**{option: told[option] for option in kind.takes})
