"""A made-up study of training dynamics, complete, without a training."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from wingbeat.studies.dynamics.found import DynamicsFindings
from wingbeat.studies.dynamics.plan import DynamicsPlan
from wingbeat.study.outcome import StudyResult
from wingbeat.tasks.architectures import ARCHITECTURES


def made(ratio, *, seeds: int = 5, skip: tuple[str, ...] = ()) -> DynamicsFindings:
    """Return a study in which ``ratio(architecture, seed)`` is the ratio of spreads."""
    rows, table = [], []
    for a in (a for a in ARCHITECTURES if a.name not in skip):
        for seed in range(seeds):
            key, value = f"{a.name}-{seed}", ratio(a, seed)
            rows.append(
                {
                    "key": key,
                    "status": "done",
                    "family": a.family,
                    "architecture": a.name,
                    "seed": seed,
                    "data": "made up",
                    "stand_in": False,
                    "replicas": 3,
                    "noise_floor": 0.0,
                    "steps": 40,
                    "steps_per_epoch": 10,
                    "convergence_ratio": value,
                    "convergence_ratio_low": value / 2,
                    "convergence_ratio_high": value * 2,
                    "convergence_ratio_projected": 1 / value,
                    "legacy_ratio": 1.0,
                    "lyapunov_per_epoch": math.log(value) / 4 if value > 0 else math.nan,
                    "early_late_ratio": 2.0,
                }
            )
            for step, spread in ((0, 1.0), (40, value)):
                table += [
                    (key, "spread", step, "p", spread),
                    (key, "accuracy", step, "p", 0.5 + step / 100),
                    (key, "accuracy", step, "null", 0.0),
                    (key, "projected_variance_kept", step, "p", 0.1 if step else 0.01),
                ]
            table += [(key, "pca_explained", k, "", 0.5 / k) for k in (1, 2, 3)]
    columns = ["key", "metric", "step", "perturbation", "value"]
    frame = pd.DataFrame(table, columns=columns).assign(layer="", reason="")
    study = StudyResult(Path(), pd.DataFrame(rows), frame, (), {})
    return DynamicsFindings(DynamicsPlan(), study)
