"""Collect the measures of one or several base seeds into a result."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from wingbeat.execution.result import Result
from wingbeat.measure.reference_training import entries as training_entries
from wingbeat.measure.summary import behavior, summarise
from wingbeat.measure.verdict import training_failure
from wingbeat.stats import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from wingbeat.execution.request import Request
    from wingbeat.measure import Measured
    from wingbeat.replicas.fork import Member
    from wingbeat.trajectory.trajectory import Trajectory

    Part = tuple[Request, Trajectory, Measured, list[Member]]


def collect(
    parts: Sequence[Part],
    condition: dict[str, Any],
    environment: dict[str, Any],
    warnings: Sequence[str],
    folder: Path | None,
    *,
    several: bool = False,
) -> Result:
    """Return the result of the measures of one or several base seeds."""
    floor = max(measured.noise_floor for _, _, measured, _ in parts)
    summary = _summary(parts, floor)
    failed = training_failure(summary)
    notes = [
        *([failed] if failed else []),
        *_twin_warning(floor, environment),
        *warnings,
        *_diverged(parts),
        *_left_out(parts),
    ]
    tables = {request.task.seed: measured.table for request, _, measured, _ in parts}
    late: Any = partial(_of_seeds, tables) if several else parts[0][2].table
    return Result(
        table=late,
        summary=summary,
        condition=condition,
        environment=environment,
        perturbations=_perturbations(parts),
        trajectories={request.task.seed: trajectory for request, trajectory, _, _ in parts},
        warnings=tuple(notes),
        metrics=parts[0][0].metrics,
        folder=folder,
    )


def _of_seeds(tables: Mapping[int, Callable[[], pd.DataFrame]]) -> pd.DataFrame:
    """Return the tables of several base seeds as one."""
    import pandas as pd  # late: see `Result.table`

    made = [table().assign(seed=seed) for seed, table in tables.items()]
    return pd.concat(made, ignore_index=True)


def _summary(parts: Sequence[Part], floor: float) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {"noise_floor": Estimate(floor, floor, floor).to_json()}
    out |= training_entries([measured.training for _, _, measured, _ in parts])
    names = [p.label for p in parts[0][0].perturbations]
    if not names:
        out["behavior"] = {
            "value": "undetermined",
            "low": None,
            "high": None,
            "reason": "too_few_replicas",
        }
    for place, name in enumerate(names):
        facts = [measured.facts[name] for _, _, measured, _ in parts]
        found = summarise(facts)
        entries = {key: estimate.to_json() for key, estimate in found.items()}
        entries["behavior"] = behavior(facts, found["convergence_ratio"])
        out |= {f"{name}/{key}": entry for key, entry in entries.items()}
        if place == 0:
            out |= entries
    return out


YOURS = "yours"
"""The driver of copies that a loop of the user's trains."""


def _twin_warning(floor: float, environment: dict[str, Any]) -> list[str]:
    if floor == 0.0:
        return []
    if environment["driver"] == YOURS:
        said = (
            f"The unperturbed twin ended up to {floor:.3g} away from the reference: the loop does "
            "not repeat itself, or keeps something that is not in build, as a buffer of samples, a "
            "list or a count (a part without state_dict will do: copies then train the whole way). "
            "Distances at or below that are noise."
        )
        return [said]
    execution = f"{environment['driver']} on {environment['device']}"
    warning = (
        f"The unperturbed twin ended up to {floor:.3g} away from the reference: this execution "
        f"({execution}) does not repeat itself. Distances at or below that are noise; "
        "`wingbeat verify` finds the first step and tensor."
    )
    return [warning]


def _left_out(parts: Sequence[Part]) -> list[str]:
    """Name the tensors that the convergence ratio leaves out, over all base seeds."""
    names = list(dict.fromkeys(n for _, _, measured, _ in parts for n in measured.left_out))
    if not names:
        return []
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    note = (
        f"The gradient of {', '.join(names[:5])}{more} is rounding alone (a bias in front of a "
        "normalisation, for example): the convergence ratio leaves these out; "
        "convergence_ratio_all has them in."
    )
    return [note]


def _diverged(parts: Sequence[Part]) -> list[str]:
    notes = []
    for request, _, measured, _ in parts:
        for label, step in measured.diverged.items():
            notes.append(
                f"Replica {label} (base seed {request.task.seed}) has a loss that is not finite "
                f"from step {step} on."
            )
    return notes


def _perturbations(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Describe every perturbation: what was asked, and what the forks really did."""
    out = []
    for perturbation in parts[0][0].perturbations:
        own = [
            m for _, _, _, members in parts for m in members if m.perturbation == perturbation.label
        ]
        out.append(
            {
                **perturbation.describe(),
                "replicas": parts[0][0].replicas,
                "realised": {"l2": [m.l2 for m in own], "changed": [m.changed for m in own]},
            }
        )
    return out
