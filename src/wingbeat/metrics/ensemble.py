"""What several models gain together: ensembles, and diversity against accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

import numpy as np

from wingbeat import special
from wingbeat.arguments import as_float64, one_of, points_of
from wingbeat.errors import RequestError
from wingbeat.metrics.disagreement import disagreement
from wingbeat.metrics.divergence import log_probabilities
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from wingbeat.arguments import Points


Combine = Literal["probability", "logit"]
COMBINATIONS: Final = get_args(Combine)


@dataclass(frozen=True)
class Ensemble:
    """An ensemble beside its N members, on the same samples.

    Attributes:
        loss: cross-entropy of the ensemble, nats.
        accuracy: of the ensemble, in [0, 1].
        member_loss: ``(N,)``.
        member_accuracy: ``(N,)``.
    """

    loss: float
    accuracy: float
    member_loss: Array
    member_accuracy: Array

    @property
    def loss_gain(self) -> float:
        """Mean loss of the members less that of the ensemble, nats; never negative (Jensen)."""
        return float(self.member_loss.mean()) - self.loss

    @property
    def accuracy_gain(self) -> float:
        """Accuracy of the ensemble less the members' mean, in [−1, 1]; > 0 = it is better."""
        return self.accuracy - float(self.member_accuracy.mean())


class Diversity(NamedTuple):
    """How differently models err, each array ``(...)``.

    Fields:
        accuracy: in [0, 1].
        disagreement: with the base model, in [0, 1].
        normalised: disagreement ÷ (1 − accuracy), ≥ 0; NaN for a model without errors.
    """

    accuracy: Array
    disagreement: Array
    normalised: Array


def ensemble(scores: Points, labels: ArrayLike, combine: Combine = "probability") -> Ensemble:
    """Return loss and accuracy of the ensemble of N models and of each member.

    Args:
        scores: logits ``(N, samples, classes)``.
        labels: the right classes ``(samples,)``, whole numbers.
        combine: "probability" averages the members' softmax, "logit" their logits.

    Returns:
        The ensemble; every number of it NaN where a logit is not finite or there is no sample.

    Raises:
        RequestError: shapes that do not fit, labels that are no classes, unknown ``combine``.

    Source: mean probability: Lakshminarayanan et al., arXiv 1612.01474; mean logit: the
    ensembles of Altıntaş et al., arXiv 2506.13234.

    >>> scores = np.log([[[0.9, 0.1]], [[0.5, 0.5]]])
    >>> found = ensemble(scores, [0])
    >>> round(found.loss, 6), round(found.loss_gain, 6)
    (0.356675, 0.042579)
    """
    one_of(combine, "combine", COMBINATIONS)
    scores = points_of(scores, "scores")
    if scores.ndim != 3 or 0 in (scores.shape[0], scores.shape[2]):
        raise RequestError(
            f"scores have shape {tuple(scores.shape)}; give (models, samples, classes)"
        )
    right = _labels(labels, scores)
    wide = as_float64(scores)
    members = log_probabilities(wide)
    with np.errstate(invalid="ignore"):
        if combine == "probability":
            joint = special.logsumexp(members, axis=0) - np.log(len(wide))
        else:
            joint = log_probabilities(wide.mean(axis=0))
    defined = right.size > 0 and bool(np.isfinite(wide).all())
    # Members' own classes from their scores, as in `disagreement`; ties go to the first.
    loss, accuracy = _loss(joint, right, defined), _accuracy(joint, right, defined)
    own = _loss(members, right, defined), _accuracy(wide, right, defined)
    return Ensemble(float(loss), float(accuracy), *own)


def diversity(base: Points, scores: Points, labels: ArrayLike) -> Diversity:
    """Return accuracy and disagreement with a base model, for a plot of one against the other.

    Models that err independently of the base lie high; copies of it at 0.

    Args:
        base: logits of the base model ``(samples, classes)``.
        scores: logits of other models ``(..., samples, classes)``.
        labels: the right classes ``(samples,)``.

    Returns:
        Accuracy, disagreement with the base, and disagreement ÷ (1 − accuracy), each ``(...)``.

    Raises:
        RequestError: shapes that do not fit, labels that are no classes.

    Source: Fort, Hu and Lakshminarayanan, arXiv 1912.02757, section 4.1.

    >>> base = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 3.0]])
    >>> other = base[[0, 1, 3, 3]]
    >>> [float(x) for x in diversity(base, other, [0, 1, 0, 0])]
    [0.5, 0.25, 0.5]
    """
    base, scores = points_of(base, "base"), points_of(scores, "scores")
    if base.ndim != 2 or scores.ndim < 2:
        raise RequestError(
            f"base and scores have shapes {tuple(base.shape)} and {tuple(scores.shape)}; give "
            "(samples, classes) and (..., samples, classes)"
        )
    apart = disagreement(base, scores)
    right, wide = _labels(labels, scores), as_float64(scores)
    accuracy = np.where(np.isfinite(apart), _accuracy(wide, right, right.size > 0), nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        normalised = np.where(accuracy < 1.0, apart / (1.0 - accuracy), nan)
    return Diversity(accuracy, apart, normalised)


def _labels(labels: ArrayLike, scores: Points) -> NDArray[np.int64]:
    found = _whole(labels)
    samples, classes = scores.shape[-2:]
    fits = found.shape == (samples,) and (found.size == 0 or found.dtype.kind in "iu")
    if not fits:
        raise RequestError(
            f"labels have shape {found.shape} and dtype {found.dtype}; give ({samples},) whole "
            "numbers, one for each sample"
        )
    if found.size and (found.min() < 0 or found.max() >= classes):
        raise RequestError(
            f"labels run from {found.min()} to {found.max()}, the scores have {classes} classes"
        )
    return found.astype(np.int64)


def _whole(labels: ArrayLike) -> NDArray[Any]:
    """Return labels as an array; a tensor may lie on any device."""
    found = points_of(labels, "labels")
    if isinstance(found, np.ndarray):
        return found
    if found.is_floating_point():
        raise RequestError(f"labels have dtype {found.dtype}; give whole numbers")
    return np.asarray(found.cpu().numpy())


def _loss(log_p: Array, labels: NDArray[np.int64], defined: bool) -> Array:
    if not defined:
        return np.full(log_p.shape[:-2], nan)
    return np.asarray(-log_p[..., np.arange(labels.size), labels].mean(axis=-1))


def _accuracy(scores: Array, labels: NDArray[np.int64], defined: bool) -> Array:
    if not defined:
        return np.full(scores.shape[:-2], nan)
    return np.asarray((scores.argmax(axis=-1) == labels).mean(axis=-1))
