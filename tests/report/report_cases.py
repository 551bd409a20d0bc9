"""A made-up result with every kind of row a report reads, and smaller variants of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ["metric", "step", "perturbation", "a", "b", "layer", "value", "reason"]
TENSORS = ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "head.weight", "head.bias")


@dataclass(frozen=True)
class FakeResult:
    table: pd.DataFrame
    summary: dict[str, dict[str, Any]] = field(default_factory=dict)
    noise_floor: float = 0.0
    behavior: str = "divergent"
    deterministic: bool = True
    warnings: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    condition: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    perturbations: tuple[dict[str, Any], ...] = ()
    metrics: tuple[str, ...] = ()

    def but(self, **changes: Any) -> FakeResult:
        return replace(self, **changes)


def table(rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Rows in the order of COLUMNS; a value of None becomes NaN."""
    frame = pd.DataFrame(list(rows), columns=COLUMNS)
    return frame.astype({"step": "int64", "value": "float64"})


def scalar(value: Any, low: Any = None, high: Any = None, reason: str = "") -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "reason": reason}


def perturbation(name: str, at: int = 0, replicas: int = 5, scale: float = 0.01) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "gaussian",
        "scale": scale,
        "relative_to": "tensor_std",
        "at": at,
        "replicas": replicas,
        "realised": {
            "l2": [scale * (10 + 0.1 * i) for i in range(replicas)],
            "changed": [0.999 - 0.0001 * i for i in range(replicas)],
        },
        "description": f"Gaussian noise, {scale:g} × standard deviation of each tensor",
    }


def full(
    names: Sequence[str] = ("gaussian-0.01@0", "gaussian-0.0001@500"),
    replicas: int = 5,
    steps: Sequence[int] = tuple(range(0, 2001, 100)),
    seed: int = 0,
) -> FakeResult:
    """A divergent run: distances grow from each perturbation's own fork."""
    rng = np.random.default_rng(seed)
    rows: list[list[Any]] = []
    asked = []
    labels = ["reference", "null"]
    for number, name in enumerate(names):
        at = int(name.rpartition("@")[2]) if "@" in name else 0
        asked.append(perturbation(name, at, replicas, 10.0 ** -(2 + 2 * number)))
        mine = [f"{name}#{i + 1}" for i in range(replicas)]
        labels += mine
        rows += _distances(rng, name, mine, [s for s in steps if s >= at], 10.0 ** -(1 + number))
    for label in labels:
        name = label.rpartition("#")[0]
        rows += _losses(rng, name, label, steps)
        rows += _components(rng, name, label, steps)
    rows += [["l2", s, "null", "reference", "null", "", 0.0, ""] for s in steps]
    rows += [
        ["pca_explained", k + 1, "", "", "", "", v, ""] for k, v in enumerate((0.71, 0.16, 0.05))
    ]
    return FakeResult(
        table=table(rows),
        summary=_summary(names),
        labels=tuple(labels),
        steps=tuple(steps),
        condition=_condition(),
        environment=_environment(),
        perturbations=tuple(asked),
    )


def _distances(rng: Any, name: str, mine: list[str], steps: list[int], start: float) -> list[Any]:
    rows: list[list[Any]] = []
    growth = {s: start * math.exp(4.2 * (1 - math.exp(-(s - steps[0]) / 500))) for s in steps}
    for s in steps:
        rows.append(["spread", s, name, "", "", "", growth[s], ""])
        rows.append(["spread_projected", s, name, "", "", "", 0.3 * growth[s] ** 1.3, ""])
        kept = 0.05 + 0.68 * (s - steps[0]) / (steps[-1] - steps[0])
        rows.append(["projected_variance_kept", s, name, "", "", "", kept, ""])
        for label in mine:
            far = growth[s] * math.exp(rng.normal(0, 0.15))
            rows.append(["l2", s, name, "reference", label, "", far, ""])
            rows.append(["cosine", s, name, "reference", label, "", 1 - far / 100, ""])
            rows += [
                ["relative_l2", s, name, "reference", label, t, far * 0.02 * (k + 1), ""]
                for k, t in enumerate(TENSORS)
            ]
        rows += [["spread", s, name, "", "", t, growth[s] * 0.1, ""] for t in TENSORS]
    for before, s in itertools.pairwise(steps):
        slope = (math.log(growth[s]) - math.log(growth[before])) / (s - before)
        value = slope + rng.normal(0, 0.0008)
        rows.append(["local_lyapunov", s, name, "", "", "", value, ""])
    return rows


def _losses(rng: Any, name: str, label: str, steps: Sequence[int]) -> list[Any]:
    rows: list[list[Any]] = []
    off = 0.0 if label in ("reference", "null") else rng.normal(0, 0.03)
    for s in steps:
        loss = 0.3 + 2 * math.exp(-s / 400) + off * s / 2000
        rows.append(["train_loss", s, name, "", label, "", loss, ""])
        rows.append(["eval_loss", s, name, "", label, "", loss + 0.1, ""])
        rows.append(
            [
                "accuracy",
                s,
                name,
                "",
                label,
                "",
                0.95 - 0.85 * math.exp(-s / 400) - off * s / 9000,
                "",
            ]
        )
        if label != "reference":
            part = abs(off) * s / 2000
            rows.append(["disagreement", s, name, "reference", label, "", part, ""])
    return rows


def _components(rng: Any, name: str, label: str, steps: Sequence[int]) -> list[Any]:
    away = np.zeros(3) if label in ("reference", "null") else rng.normal(0, 1, 3)
    rows: list[list[Any]] = []
    for s in steps:
        t = s / 2000
        way = np.array([12 * t**0.6 - 6, 5 * math.sin(2.5 * t), 3 * t * (1 - t)]) + away * 2 * t**2
        rows += [[f"pc{k + 1}", s, name, "", label, "", float(way[k]), ""] for k in range(3)]
    return rows


def _summary(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {"noise_floor": scalar(0.0)}
    for number, name in enumerate(names):
        mine = {
            "convergence_ratio": scalar(61.6 / (number + 1), 48.2 / (number + 1), 77.9),
            "convergence_ratio_projected": scalar(213.0, 150.0, 290.0),
            "lyapunov": scalar(0.00312, 0.0028, 0.0035),
            "lyapunov_per_epoch": scalar(0.0343, 0.031, 0.038),
            "early_late_ratio": scalar(7.4, 6.8, 8.0),
            "participation_ratio": scalar(2.31),
            "final_l2": scalar(6.2, 5.1, 7.4),
            "final_disagreement": scalar(0.021, 0.012, 0.033),
            "behavior": scalar("divergent"),
        }
        found |= {f"{name}/{k}": v for k, v in mine.items()}
        if number == 0:
            found |= mine
    return found


def _condition() -> dict[str, Any]:
    return {
        "task": {"model": "my_project.nets:build", "batch_size": 128, "steps": 2000, "seed": 0},
        "perturbations": [
            {"kind": "gaussian", "scale": 0.01, "relative_to": "tensor_std", "at": 0},
            {"kind": "gaussian", "scale": 0.0001, "relative_to": "tensor_std", "at": 500},
        ],
        "metrics": ["l2", "spread", "cosine", "disagreement"],
        "driver": "auto",
    }


def _environment() -> dict[str, Any]:
    return {
        "wingbeat": "0.1.0",
        "torch": "2.13.0",
        "python": "3.11.9",
        "driver": {"name": "lockstep", "chunk": 12, "compiled": False},
        "dtype": "float32",
        "threads": 2,
        "device": "cpu",
    }
