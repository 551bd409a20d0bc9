"""What the study measures on each finished run besides its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import NOT_RESAMPLED
from wingbeat.metrics.projection import legacy_ratio
from wingbeat.stats import Estimate

if TYPE_CHECKING:
    from wingbeat.execution.result import Result


def legacy(result: Result) -> dict[str, dict[str, Any]]:
    """Return the ratio that deep-lyapunov 0.1.2 would print for these trajectories.

    Its copy 0 is unperturbed, so the reference is one of the points. It is computed on
    trajectories with coupled noise, which deep-lyapunov's own are not.
    """
    trajectory = result.trajectory
    keep = [i for i, label in enumerate(trajectory.labels) if label != "null"]
    points = torch.stack(
        [
            torch.cat([t[keep].flatten(1) for t in snapshot.params.values()], dim=1)
            for snapshot in trajectory
        ]
    )
    ratio = legacy_ratio(points)
    return {"legacy_ratio": Estimate(ratio, interval_reason=NOT_RESAMPLED).to_json()}
