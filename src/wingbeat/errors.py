"""What can go wrong, and the reasons why a value is undefined.

Every error says what was found, names the offending value and says what to do.
A value that does not exist is NaN and carries one of the reasons below: an
undefined number is never reported as zero.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BELOW_NOISE_FLOOR: Final = "below_noise_floor"
"""The distance is not larger than what the unperturbed twin shows."""
DIVERGED: Final = "diverged"
"""A replica has weights or a loss that are not finite."""
TOO_FEW_POINTS: Final = "too_few_points"
"""Too few snapshots for the estimator (a slope needs two)."""
TOO_FEW_REPLICAS: Final = "too_few_replicas"
"""A spread needs two replicas, an interval three."""
SATURATED: Final = "saturated"
"""The distance left the linear range before two points were recorded."""
CONSTANT: Final = "constant"
"""The quantity in the denominator has no variance or is exactly zero."""
NO_VARIATION: Final = "no_variation"
"""No interval: all values are the same, which does not bound what the next one would be."""
NOT_YET_FORKED: Final = "not_yet_forked"
"""The replica did not exist at this step."""
NO_PREDICTIONS: Final = "no_predictions"
"""The task gives no class predictions to compare."""

TOO_FEW_SEEDS: Final = "too_few_seeds"
"""A mean over base seeds with an interval needs more of them."""
NOT_TRAINED: Final = "not_trained"
"""The copies that were to be trained never moved."""
NOT_RESAMPLED: Final = "not_resampled"
"""No interval: the value is one number for a base seed, and there are fewer than three."""
TOO_FEW_EXPONENTS: Final = "too_few_exponents"
"""The sum of the exponents that were computed has not become negative: ask for more."""
OVERFLOW: Final = "overflow"
"""A tangent vector left the range of its type between two orthonormalisations."""
NO_LINEAR_REGION: Final = "no_linear_region"
"""The logarithm of the distance grows nowhere along a line: there is no slope to read."""
TOO_FEW_BATCHES: Final = "too_few_batches"
"""No interval: one over the evaluation data needs three batches of them."""
NO_THRESHOLD: Final = "no_threshold"
"""No stability threshold is known for this optimizer."""
TOO_FEW_CONDITIONS: Final = "too_few_conditions"
"""A correlation needs three conditions in which both quantities are defined."""
NO_TWIN: Final = "no_twin"
"""Checkpoints that were made elsewhere have no unperturbed twin, hence no noise floor."""
NOT_MATCHED: Final = "not_matched"
"""No other condition differs from this one in that axis alone."""
NOT_REACHED: Final = "not_reached"
"""It had not happened by the end of the run."""
TOO_FEW_SAMPLES: Final = "too_few_samples"
"""Too few samples for the estimator (debiased CKA needs four)."""
UNDECIDED: Final = "undecided"
"""The replicates are too few, or too evenly split, to decide at the stated confidence."""
NO_PERMUTATIONS: Final = "no_permutations"
"""The model's permutation symmetries could not be found, so nothing can be aligned."""
NOT_SYMMETRIC: Final = "not_symmetric"
"""The permutations that were found would change what this replica computes: it is not aligned."""
SHARED_NORMALISATION: Final = "shared_normalisation"
"""A batch normalisation runs several times in one evaluation of the loss: between models it has no
single set of statistics."""
NOT_TWICE_DIFFERENTIABLE: Final = "not_twice_differentiable"
"""The loss has no second derivative here (an operation without one): no curvature."""

REASONS: Final = (
    BELOW_NOISE_FLOOR,
    DIVERGED,
    TOO_FEW_POINTS,
    TOO_FEW_REPLICAS,
    SATURATED,
    CONSTANT,
    NO_VARIATION,
    NOT_YET_FORKED,
    NO_PREDICTIONS,
    TOO_FEW_SEEDS,
    NOT_TRAINED,
    NOT_RESAMPLED,
    TOO_FEW_EXPONENTS,
    OVERFLOW,
    NO_LINEAR_REGION,
    TOO_FEW_BATCHES,
    NO_THRESHOLD,
    TOO_FEW_CONDITIONS,
    NO_TWIN,
    NOT_MATCHED,
    NOT_REACHED,
    TOO_FEW_SAMPLES,
    UNDECIDED,
    NO_PERMUTATIONS,
    NOT_SYMMETRIC,
    SHARED_NORMALISATION,
    NOT_TWICE_DIFFERENTIABLE,
)


class WingbeatError(Exception):
    """Base of all errors that wingbeat raises on purpose."""


class RequestError(WingbeatError, ValueError):
    """The request is wrong: nothing was computed. The message says what to change."""


class UndefinedError(RequestError):
    """What was asked has no value for this model; a run goes on and notes the reason.

    Args:
        message: what, and what to do.
        reason: why, one of the reasons of this module.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RunError(WingbeatError, RuntimeError):
    """The run failed while computing: what was recorded before stays readable."""


class StoreError(WingbeatError, RuntimeError):
    """A file of a run is missing, damaged, locked or belongs to another request."""


class DriverError(WingbeatError, RuntimeError):
    """A driver cannot execute this model; the message gives the reason."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the known word closest to a misspelt one.

    >>> nearest("spred", ["spread", "cosine"])
    "did you mean 'spread'?"
    >>> nearest("zzz", ["spread", "cosine"])
    'known: cosine, spread'
    """
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
