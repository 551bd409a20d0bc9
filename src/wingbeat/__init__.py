"""Measure how sensitive neural-network training is to its starting point.

The pipeline: a ``Task`` says what to train; ``run`` forks it with perturbations, advances the
replicas under the same noise, records and measures them; a ``Result`` holds table, summary,
trajectory and report.
"""

from wingbeat.moved import keep_former_names
from wingbeat.products import ask_for_reproducible_products

ask_for_reproducible_products()  # before anything multiplies matrices
keep_former_names("wingbeat.run", "wingbeat.verify", "wingbeat.noise_sources")

# ruff: noqa: E402
from wingbeat import lyapunov, metrics
from wingbeat.analyses.noise_sources import noise_sources
from wingbeat.analyses.onset import find_onset
from wingbeat.checkpoints import compare
from wingbeat.errors import DriverError, RequestError, RunError, StoreError, WingbeatError
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

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022  (pipeline order)
    "Task",
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
    "verify",
    "find_onset",
    "noise_sources",
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
    "WingbeatError",
    "RequestError",
    "DriverError",
    "RunError",
    "StoreError",
]
