"""What can go wrong, and the reasons why a value is undefined.

Every error says what was found, names the offending value and says what to do.
A value that does not exist is NaN and carries one of the reasons below: an
undefined number is never reported as zero.
"""

from __future__ import annotations

from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TEXT: dict[str, str] = {}


def _reason(code: str, text: str) -> str:
    """Declare a reason: its code in tables, and its words after "undefined, because"."""
    _TEXT[code] = text
    return code


BELOW_NOISE_FLOOR: Final = _reason("below_noise_floor", "it is not larger than the noise floor")
"""The distance is not larger than what the unperturbed twin shows."""
DIVERGED: Final = _reason("diverged", "a replica has weights or a loss that are not finite")
"""A replica has weights or a loss that are not finite."""
METRIC_NOT_FINITE: Final = _reason(
    "metric_not_finite", "the metric gives no finite number, though the training is finite"
)
"""The metric itself returned NaN or infinity, of replicas whose weights and losses are finite."""
TOO_FEW_POINTS: Final = _reason("too_few_points", "too few steps were recorded")
"""Too few snapshots for the estimator (a slope needs two)."""
TOO_FEW_REPLICAS: Final = _reason("too_few_replicas", "there are too few replicas")
"""A spread needs two replicas, an interval three."""
SATURATED: Final = _reason("saturated", "the distance left the linear range too early")
"""The distance left the linear range before two points were recorded."""
CONSTANT: Final = _reason("constant", "the quantity it is divided by is exactly zero")
"""The quantity in the denominator has no variance or is exactly zero."""
NO_VARIATION: Final = _reason("no_variation", "all values are the same, which bounds nothing")
"""No interval: all values are the same, which does not bound what the next one would be."""
NOT_YET_FORKED: Final = _reason("not_yet_forked", "the replica did not exist yet")
"""The replica did not exist at this step."""
NO_PREDICTIONS: Final = _reason("no_predictions", "the task gives no class predictions")
"""The task gives no class predictions to compare."""
TOO_FEW_SEEDS: Final = _reason("too_few_seeds", "there are too few base seeds")
"""A mean over base seeds with an interval needs more of them."""
NOT_TRAINED: Final = _reason("not_trained", "the copies were not trained")
"""The copies that were to be trained never moved."""
NOT_RESAMPLED: Final = _reason("not_resampled", "it is one number for each base seed")
"""No interval: the value is one number for a base seed, and there are fewer than three."""
TOO_FEW_EXPONENTS: Final = _reason(
    "too_few_exponents", "too few exponents were computed to reach it"
)
"""The sum of the exponents that were computed has not become negative: ask for more."""
OVERFLOW: Final = _reason("overflow", "a tangent vector left the range of its type")
"""A tangent vector left the range of its type between two orthonormalisations."""
NO_LINEAR_REGION: Final = _reason("no_linear_region", "the growth follows no line anywhere")
"""The logarithm of the distance grows nowhere along a line: there is no slope to read."""
TOO_FEW_BATCHES: Final = _reason("too_few_batches", "there are too few batches of evaluation data")
"""No interval: one over the evaluation data needs three batches of them."""
NO_THRESHOLD: Final = _reason("no_threshold", "no stability threshold is known for this optimizer")
"""No stability threshold is known for this optimizer."""
TOO_FEW_CONDITIONS: Final = _reason(
    "too_few_conditions", "there are too few conditions with both quantities"
)
"""A correlation needs three conditions in which both quantities are defined."""
NO_TWIN: Final = _reason("no_twin", "there is no unperturbed twin")
"""Checkpoints that were made elsewhere have no unperturbed twin, hence no noise floor."""
NOT_MATCHED: Final = _reason("not_matched", "no condition differs in this axis alone")
"""No other condition differs from this one in that axis alone."""
NOT_REACHED: Final = _reason("not_reached", "it had not happened by the end")
"""It had not happened by the end of the run."""
TOO_FEW_SAMPLES: Final = _reason("too_few_samples", "there are too few samples")
"""Too few samples for the estimator (debiased CKA needs four)."""
UNDECIDED: Final = _reason("undecided", "the replicates do not decide at the stated confidence")
"""The replicates are too few, or too evenly split, to decide at the stated confidence."""
NO_PERMUTATIONS: Final = _reason(
    "no_permutations", "the model's permutation symmetries could not be found"
)
"""The model's permutation symmetries could not be found, so nothing can be aligned."""
NOT_SYMMETRIC: Final = _reason(
    "not_symmetric", "permuting this replica's units would change what it computes"
)
"""The permutations that were found would change what this replica computes: it is not aligned."""
SHARED_NORMALISATION: Final = _reason(
    "shared_normalisation", "a batch normalisation runs several times in one evaluation"
)
"""A batch normalisation runs several times in one evaluation of the loss: between models it has no
single set of statistics."""
NOT_TWICE_DIFFERENTIABLE: Final = _reason(
    "not_twice_differentiable", "the loss cannot be differentiated twice"
)
"""The loss has no second derivative here (an operation without one): no curvature."""
NO_ACTIVATIONS: Final = _reason(
    "no_activations", "no module of the model is an activation whose sign tells if a unit is on"
)
"""The model has no activation module, such as nn.ReLU: functions within a forward are not seen."""
NO_HELD_OUT: Final = _reason("no_held_out", "the task has no evaluation data")
"""The measure compares training data with data that the model has not seen."""
NO_CLASSIFIER: Final = _reason(
    "no_classifier", "the class scores do not come from a linear layer of the model"
)
"""The last features are the input of a linear layer that gives the class scores; there is none."""

REASON_TEXT: Final[Mapping[str, str]] = MappingProxyType(_TEXT)
"""Every reason in words, as half a sentence."""


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


def require(holds: bool, name: str, value: object, advice: str) -> None:
    """Refuse a value: the message names it and says what to do.

    Raises:
        RequestError: the condition does not hold.

    >>> require(False, "lr", -0.1, "use a positive learning rate")
    Traceback (most recent call last):
    wingbeat.errors.RequestError: lr is -0.1: use a positive learning rate
    """
    if not holds:
        raise RequestError(f"{name} is {value!r}: {advice}")


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
