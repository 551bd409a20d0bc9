"""The average of several models' weights, beside the models themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.landscape.models import Models
    from wingbeat.landscape.probe import Probe, Values


@dataclass(frozen=True)
class Soup:
    """A weight average of N models and what it gains, by quantity and data.

    Every dictionary has the keys "loss_train", "error_train", "loss_test", "error_test", as far as
    there are such data and classes.

    Attributes:
        members: the models' own values, (N,).
        plain: of the average of the weights as they are.
        aligned: of the average of the weights after alignment; empty if none was given.
    """

    members: dict[str, Array]
    plain: dict[str, float]
    aligned: dict[str, float]

    def gain(self, name: str = "loss_train", *, aligned: bool = False) -> float:
        """Return the members' mean less the average's value: > 0 = the average is better."""
        found = self.aligned if aligned else self.plain
        if name not in found:
            raise RequestError(f"no value {name!r}: known are {', '.join(found) or 'none'}")
        return float(self.members[name].mean()) - found[name]


def soup(
    probe: Probe,
    models: Models,
    weights: Sequence[float] | None = None,
    aligned: Models | None = None,
) -> Soup:
    """Average models and evaluate the average; running statistics as the probe has it.

    Args:
        probe: on which data, and how.
        models: N of them.
        weights: coefficients (N,) summing to 1; None for the plain mean.
        aligned: the same models with their units permuted onto each other, as
            ``Permutation.apply`` gives them. They compute the same functions and average to
            another model.

    Raises:
        RequestError: weights that do not fit, or another number of aligned models.

    Source: Wortsman et al., arXiv 2203.05482; after alignment: Ainsworth et al., arXiv 2209.04836.
    """
    count = len(models)
    row = np.full(count, 1.0 / count) if weights is None else np.asarray(weights, dtype=float)
    if row.shape != (count,) or abs(row.sum() - 1.0) > 1e-9:
        raise RequestError(f"weights are {row.tolist()}; give {count} numbers that sum to 1")
    if aligned is not None and len(aligned) != count:
        raise RequestError(f"{len(aligned)} aligned models for {count} models: give one each")
    own = probe(models, np.vstack([np.eye(count), row]))
    plain = _flat(own)
    other = {} if aligned is None else _flat(probe(aligned, row[None]))
    return Soup(
        members={k: v[:count] for k, v in plain.items()},
        plain={k: float(v[count]) for k, v in plain.items()},
        aligned={k: float(v[0]) for k, v in other.items()},
    )


def _flat(found: dict[str, Values]) -> dict[str, Array]:
    out = {}
    for name, values in found.items():
        out[f"loss_{name}"] = values.mean("loss")
        if values.error is not None:
            out[f"error_{name}"] = values.mean("error")
    return out
