"""Measure how sensitive neural-network training is to its starting point.

The pipeline: a ``Task`` says what to train; ``run`` forks it with perturbations, advances the
replicas under the same noise, records and measures them; a ``Result`` holds table, summary,
trajectory and report.

Names are imported when they are first used (PEP 562), so that a program pays for what it uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from wingbeat.garbage import made_to_stay
from wingbeat.moved import keep_former_names
from wingbeat.products import ask_for_reproducible_products
from wingbeat.version import __version__ as __version__

if TYPE_CHECKING:
    from wingbeat import lyapunov, metrics
    from wingbeat.analyses.logged_runs import read_runs
    from wingbeat.analyses.noise_sources import noise_sources
    from wingbeat.analyses.onset import find_onset
    from wingbeat.checkpoints.compare import compare
    from wingbeat.checkpoints.start import Start
    from wingbeat.errors import DriverError, RequestError, RunError, StoreError, WingbeatError
    from wingbeat.execution.check import check
    from wingbeat.execution.compared import compare_results
    from wingbeat.execution.result import Result, load
    from wingbeat.execution.run import run
    from wingbeat.execution.verify import Verification, verify
    from wingbeat.replicas.perturb import (
        Augmentation,
        BatchGradient,
        DataOrder,
        Direction,
        Dropout,
        Gaussian,
        Init,
        SingleWeight,
        Ulp,
    )
    from wingbeat.study.load import load_study
    from wingbeat.study.study import Study
    from wingbeat.symmetry import align, permutation_spec
    from wingbeat.task.task import Task
    from wingbeat.trajectory.trajectory import Trajectory
    from wingbeat.twins.twins import Twins


__all__ = [  # noqa: RUF022  (pipeline order)
    "Task",
    "Start",
    "Gaussian",
    "BatchGradient",
    "SingleWeight",
    "Ulp",
    "Direction",
    "DataOrder",
    "Augmentation",
    "Dropout",
    "Init",
    "run",
    "check",
    "Twins",
    "verify",
    "find_onset",
    "noise_sources",
    "read_runs",
    "Study",
    "load_study",
    "Trajectory",
    "compare",
    "permutation_spec",
    "align",
    "metrics",
    "lyapunov",
    "Result",
    "Verification",
    "load",
    "compare_results",
    "WingbeatError",
    "RequestError",
    "DriverError",
    "RunError",
    "StoreError",
]

_PLACES: Final = {
    "wingbeat.analyses.logged_runs": ("read_runs",),
    "wingbeat.analyses.noise_sources": ("noise_sources",),
    "wingbeat.analyses.onset": ("find_onset",),
    "wingbeat.checkpoints.compare": ("compare",),
    "wingbeat.checkpoints.start": ("Start",),
    "wingbeat.errors": ("DriverError", "RequestError", "RunError", "StoreError", "WingbeatError"),
    "wingbeat.execution.check": ("check",),
    "wingbeat.execution.compared": ("compare_results",),
    "wingbeat.execution.result": ("Result", "load"),
    "wingbeat.execution.run": ("run",),
    "wingbeat.execution.verify": ("Verification", "verify"),
    "wingbeat.replicas.perturb": (
        "Augmentation",
        "BatchGradient",
        "DataOrder",
        "Direction",
        "Dropout",
        "Gaussian",
        "Init",
        "SingleWeight",
        "Ulp",
    ),
    "wingbeat.study.load": ("load_study",),
    "wingbeat.study.study": ("Study",),
    "wingbeat.symmetry": ("align", "permutation_spec"),
    "wingbeat.task.task": ("Task",),
    "wingbeat.trajectory.trajectory": ("Trajectory",),
    "wingbeat.twins.twins": ("Twins",),
}
"""Where each name is defined: what type checkers read above, for the interpreter."""
_PLACE_OF: Final = {name: place for place, names in _PLACES.items() for name in names}
_ROOMS: Final = ("lyapunov", "metrics")

ask_for_reproducible_products()  # before anything multiplies matrices
keep_former_names("wingbeat.run", "wingbeat.verify", "wingbeat.noise_sources")


def __getattr__(name: str) -> Any:
    if name not in _ROOMS and name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with made_to_stay():
        if name in _ROOMS:
            return import_module(f"wingbeat.{name}")
        globals()[name] = value = getattr(import_module(_PLACE_OF[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
