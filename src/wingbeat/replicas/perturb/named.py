"""Perturbations by name: from words of a command line, and from the JSON of a study."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from wingbeat.errors import RequestError, nearest
from wingbeat.replicas.perturb.perturbation import PERTURBATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wingbeat.replicas.perturb.perturbation import Perturbation


def perturbation_of(kind: object, settings: Mapping[str, Any]) -> Perturbation:
    """Return a perturbation of a kind.

    Args:
        kind: as ``Perturbation.kind``, or ``module:Class``.
        settings: the fields that are set.

    Raises:
        RequestError: an unknown kind or field, a missing one, or a value that does not fit.

    Example:
        >>> perturbation_of("gaussian", {"scale": 0.01}).label
        'gaussian-0.01@0'
    """
    cls = PERTURBATIONS.find(str(kind))
    known = [f.name for f in fields(cls)]
    for name in settings:
        if name not in known:
            raise RequestError(
                f"perturbation {kind!r} has no field {name!r}: {nearest(name, known)}"
            )
    try:
        return cls(**settings)
    except TypeError as error:
        raise RequestError(
            f"perturbation {kind!r} is incomplete ({error}): give a size, as in {kind}:0.01"
        ) from error


def size_field(kind: str) -> str:
    """Return the field that the size in ``kind:size`` sets: the first that needs no name.

    >>> size_field("gaussian"), size_field("ulp"), size_field("order")
    ('scale', 'n', 'seed')
    """
    parameters = inspect.signature(PERTURBATIONS.find(kind)).parameters.values()
    return next(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
