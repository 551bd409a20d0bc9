"""Arguments of `wingbeat.run` that are no part of the task: types and bounds, by name."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.arguments import real_number, shown, whole_number
from wingbeat.determinism import derive
from wingbeat.errors import RequestError
from wingbeat.measure.metric import Metric
from wingbeat.replicas.perturb import Perturbation

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_REPLICAS: Final = 1_000_000
"""Copies of one perturbation: far beyond what any machine holds, and no list of them hangs."""
_SEEDS: Final = 2**63
"""Seeds lie below it in magnitude: torch takes no others."""


def check_perturbations(given: object) -> list[Perturbation]:
    """Return perturbations as a list.

    Raises:
        RequestError: it is none, or something else is among them.
    """
    if isinstance(given, Perturbation):
        return [given]
    advice = "pass perturbations such as wb.Gaussian(0.01), one or a list of them"
    if not _is_list(given):
        raise RequestError(f"perturbations is {shown(given)}: {advice}")
    found: list[Any] = list(given)  # type: ignore[call-overload]
    for one in found:
        if not isinstance(one, Perturbation):
            raise RequestError(f"perturbations is {type(one).__name__!r}: {advice}")
    return found


def check_counts(replicas: object, record_every: object) -> tuple[int, int | None]:
    """Return how many replicas, and how many steps between snapshots if that was said."""
    every = None if record_every is None else whole_number(record_every, "record_every")
    return whole_number(replicas, "replicas", 1, MOST_REPLICAS), every


def check_names(metrics: object) -> Sequence[str | Metric] | None:
    """Return the metrics that were asked for as a list, None where nothing was said."""
    if metrics is None:
        return None
    if isinstance(metrics, str | Metric):
        return [metrics]
    if not _is_list(metrics):
        raise RequestError(f"metrics is {shown(metrics)}: give names, as ['l2', '+barrier']")
    found: list[Any] = list(metrics)  # type: ignore[call-overload]
    for one in found:
        if not isinstance(one, str | Metric):
            raise RequestError(
                f"metrics holds {shown(one)}: give names, or functions declared with "
                "wingbeat.measure.metric"
            )
    return found


def check_seed(seed: int, name: str) -> int:
    """Return a base seed.

    Raises:
        RequestError: it is no whole number, or torch cannot be seeded with it.
    """
    return whole_number(seed, name, 1 - _SEEDS, _SEEDS - 1, "use whole numbers below 2**63")


_MOST_SEEDS: Final = 10_000
"""Base seeds that a mere number may ask for: more is a slip of the keyboard."""


def check_seeds(seeds: Sequence[int] | int | None) -> tuple[int, ...] | None:
    """Return base seeds that are whole and different, or None; a number asks for so many.

    Raises:
        RequestError: they are not.

    >>> check_seeds(3) == default_seeds(3), check_seeds([4, 7])
    (True, (4, 7))
    """
    if seeds is None:
        return None
    if isinstance(seeds, int):
        return default_seeds(
            whole_number(seeds, "seeds", 1, _MOST_SEEDS, "list them, or say how many")
        )
    if not _is_list(seeds):
        raise RequestError(f"seeds is {shown(seeds)}: give a list of whole numbers, as [0, 1, 2]")
    found = tuple(check_seed(s, "seeds") for s in seeds)
    if not found or len(set(found)) != len(found):
        raise RequestError(f"seeds is {shown(seeds)}: use different whole numbers")
    return found


def default_seeds(count: int) -> tuple[int, ...]:
    """Return ``count`` base seeds: 0 first, then derived ones.

    Raises:
        RequestError: there is to be none.

    >>> default_seeds(2)[0]
    0
    """
    if count < 1:
        raise RequestError(f"seeds is {count}: use a whole number of at least 1")
    return (0, *(derive(0, "base", i) % 2**31 for i in range(1, count)))


def check_device(device: object) -> torch.device:
    """Return a device on which numbers can be computed.

    Raises:
        RequestError: torch does not know it, does not see it, or it holds no numbers.
    """
    if not isinstance(device, str | torch.device):
        raise RequestError(f"device is {shown(device)}: use 'cpu', or one that torch sees")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        msg = f"device {str(device)!r} cannot be used ({reason}): use 'cpu', or one that torch sees"
        raise RequestError(msg) from error
    if found.type == "meta":
        raise RequestError(
            "device is 'meta': it holds no numbers; use 'cpu', or one that torch sees"
        )
    return found


def check_execution(
    driver: object,
    compiled: object,
    checkpoint_seconds: object,
    progress: object,
    factory: object,
) -> None:
    """Refuse switches that are no switches, and times that are none."""
    if not isinstance(driver, str):
        advice = "use 'auto', 'lockstep', 'recorded' or 'loop'"
        raise RequestError(f"driver is {shown(driver)}: {advice}")
    for name, value in (("compiled", compiled), ("progress", progress)):
        if value is not None and not isinstance(value, bool):
            raise RequestError(f"{name} is {shown(value)}: use True, False or None")
    advice = "give seconds, 0 for a checkpoint at every step"
    seconds = real_number(checkpoint_seconds, "checkpoint_seconds", advice, finite=False)
    if math.isnan(seconds) or seconds < 0.0:
        raise RequestError(f"checkpoint_seconds is {seconds}: {advice}")
    if factory is not None and not isinstance(factory, dict):
        raise RequestError(f"factory is {shown(factory)}: give a dict, or None")


def as_folder(out: str | os.PathLike[str] | None) -> Path | None:
    """Return the run's folder as a path.

    Raises:
        RequestError: no path, an empty one, or one that no file system takes.
    """
    if out is None:
        return None
    path: Any = os.fspath(out) if isinstance(out, str | os.PathLike) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise RequestError(f"out is {shown(out)}: give the path of a folder, or None")
    return Path(path)


def _is_list(given: object) -> bool:
    """Tell whether something can be gone through in an order of its own, and is no text."""
    unordered = isinstance(given, str | bytes | Mapping | set | frozenset)
    return isinstance(given, Iterable) and not unordered and getattr(given, "ndim", 1) > 0
