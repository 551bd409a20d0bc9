"""What a user should know before reading the numbers: the texts of all warnings."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Final

from wingbeat.deep_lyapunov.results import AnalysisResults, TrajectoryMetrics
from wingbeat.errors import BELOW_NOISE_FLOOR, DIVERGED

if TYPE_CHECKING:
    from wingbeat.deep_lyapunov.config import MetricsConfig
    from wingbeat.deep_lyapunov.training import Trained

BUSY: Final = (
    "Already recording. Call compute_metrics() for what is recorded, then reset() to start anew."
)
BASE_TRAINED: Final = """\
Only the base model was trained; the perturbed copies, which are what is compared, never moved. \
Ratio and exponent are undefined; path length, velocity, components and dimension are those of \
the base model. Train the copies instead. Change
    train_one_epoch(model, train_loader)
to
    for copy in analyzer.get_models():
        train_one_epoch(copy, train_loader)"""

_ORDER: Final = "The copies were not called with the same inputs in the same order, so what parts \
them is also the noise of the data. "
_MANUAL: Final = (
    "Write `with analyzer.shared_noise(train_loader):` around the training of each copy."
)
_AUTOMATIC: Final = (
    "The training function draws from a source that could not be set back: let it use the loader, "
    "a global generator of torch, numpy or random, or one that the loader or its arguments hold."
)


def still(which: Sequence[int], count: int) -> str:
    """Return the warning that some copies, or all, did not move.

    >>> still([0, 1], 2).split(":")[0]
    'No weight of any copy moved'
    """
    if len(which) == count:
        return (
            "No weight of any copy moved: the training function trains nothing, or not the model "
            "that it is given. Ratio and exponent are undefined."
        )
    return (
        f"Copies {', '.join(map(str, which))} of {count} never moved, the others did. Train all "
        "copies in the same way; ratio and exponent are undefined."
    )


def on_training(done: Sequence[Trained], n_epochs: int) -> list[str]:
    """Return what is to be said about how the copies were trained."""
    notes = on_inputs([one.inputs for one in done])
    if any(one.rebuilt > 1 for one in done):
        notes.append(
            "The training function builds a new optimizer each time it is called, once per epoch, "
            "so moments and learning-rate schedules start anew at every epoch. If that is not "
            "meant, mark it with wingbeat.deep_lyapunov.all_epochs: it is then called once with "
            "all epochs."
        )
    passes = sorted({one.uneven for one in done if one.uneven is not None})
    if passes:
        notes.append(
            f"{n_epochs} epochs were asked for, but the training function went through the loader "
            f"{', '.join(map(str, passes))} times: checkpoints are spread evenly over the epochs."
        )
    return notes


def on_inputs(inputs: Sequence[tuple[int, int]], *, manual: bool = False) -> list[str]:
    """Return the warning that copies saw different data, if they did.

    >>> on_inputs([(5, 17), (5, 17)])
    []
    """
    seen = {one for one in inputs if one[0] > 0}
    return [_ORDER + (_MANUAL if manual else _AUTOMATIC)] if len(seen) > 1 else []


def on_results(results: AnalysisResults, each: Sequence[TrajectoryMetrics]) -> list[str]:
    """Return what is to be said about the numbers themselves."""
    notes = []
    if results.reason == DIVERGED:
        notes.append("A copy has weights that are not finite; ratio and exponent are undefined.")
    if results.reason == BELOW_NOISE_FLOOR:
        notes.append(
            "The copies start with equal weights: the perturbation vanishes in rounding. Raise "
            "perturbation_scale or train in float64."
        )
    lost = [
        m.trajectory_id for m in each if m.final_loss is not None and not isfinite(m.final_loss)
    ]
    if lost:
        notes.append(f"The final loss of trajectory {', '.join(map(str, lost))} is not finite.")
    return notes


def remarks(results: AnalysisResults, config: MetricsConfig) -> list[str]:
    """Return what belongs into the report but needs no warning."""
    if results.n_checkpoints >= config.min_trajectory_length:
        return []
    few = f"{results.n_checkpoints} checkpoints are fewer than {config.min_trajectory_length}"
    return [f"{few}: rates are rough."]
