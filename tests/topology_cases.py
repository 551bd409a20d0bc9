"""A made-up study of topology, complete, without a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from wingbeat.studies.topology.clouds import POOLINGS
from wingbeat.studies.topology.found import TopologyFindings, tables
from wingbeat.studies.topology.measure import RULES, WHEN
from wingbeat.studies.topology.plan import LARGE
from wingbeat.study.analysis import Analysis
from wingbeat.study.outcome import StudyResult
from wingbeat.tasks.architectures import ARCHITECTURES, Architecture

NETS = tuple(a for a in ARCHITECTURES if a.name not in LARGE)
PLACE = {a.name: i for i, a in enumerate(NETS)}
MADE = {"dense": 0.0, "cnn": 0.3, "transformer": 0.6}


def numbers(architecture: Architecture, seed: int) -> dict[str, float]:
    """Return what a net has where nothing is planted: no two numbers are alike."""
    jitter = 1 + 0.01 * ((7 * seed + 3 * PLACE[architecture.name]) % 5)
    found = {"convergence_ratio": (2.0 + PLACE[architecture.name]) * jitter}
    found |= {"lyapunov_per_epoch": 0.1 * found["convergence_ratio"], "training_accuracy": 0.9}
    for k, when in enumerate(WHEN):
        for i, rule in enumerate(RULES):
            value = (1 + 0.5 * k + 0.25 * i) * jitter
            found |= {f"expansion_{rule}_{when}": value, f"size_{rule}_{when}": 2 * value}
            found |= {f"expansion_{rule}_{p}_{when}": value for p in POOLINGS}
        found |= {f"h0_{when}": (0.3 + 0.1 * k) * jitter, f"h1_{when}": (3 + k) * jitter}
        found |= {f"h0_span_{when}": 0.01 * (1 + k) * jitter, f"radius_{when}": 0.1}
    return found


def made(change=lambda a, seed: {}, *, seeds=5, nets=NETS, whole=False) -> Analysis:
    """Return a study in which ``change(architecture, seed)`` replaces some of a net's numbers.

    Without its tables, which take a third of a second, unless ``whole``.
    """
    rows = [
        {
            "key": f"{a.name}-{seed}",
            "status": "done",
            "family": a.family,
            "architecture": a.name,
            "seed": seed,
            "data": "made up",
            "stand_in": False,
            "noise_floor": 0.0,
            **numbers(a, seed),
            **change(a, seed),
        }
        for a in nets
        for seed in range(seeds)
    ]
    study = StudyResult(Path(), pd.DataFrame(rows), pd.DataFrame(), (), {})
    found = Analysis(None, study, own=TopologyFindings(None, study, draws=9))
    return replace(found, tables=tables(found) if whole else {"correlations": pd.DataFrame()})
