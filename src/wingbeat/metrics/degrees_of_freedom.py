"""How many degrees of freedom a spread has, read from the Gram matrix of its replicas.

Sources: Satterthwaite, Biometrics Bulletin 2 (1946), for the degrees of freedom of a sum of χ²;
Himeno and Yamada, Journal of Multivariate Analysis 130 (2014), for the unbiased traces.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from wingbeat.typing import Array

FEWEST: Final = 3
"""Replicas below which a Gram matrix does not say along how many directions they lie."""
MANY: Final = 1e16
"""Degrees of freedom that stand for "no sampling error"; digamma and its kin stay finite there."""


def degrees_of_freedom(before: Array | None, after: Array) -> tuple[float, float]:
    """Return degrees of freedom of a ratio's numerator and denominator, without what they share.

    tr Σ² ÷ (tr Σ)² is the relative variance of a squared norm, tr Σ₀Σ ÷ (tr Σ₀ tr Σ) what both
    norms share; an isotropic map shares all and has no sampling error. Where one side has less
    than what is shared, the variance of the ratio is all the other's.
    """
    own, shared, other = _share(after, after), 0.0, 0.0
    if before is not None:
        shared, other = _share(before, after), _share(before, before)
    above, below = own - shared, other - shared
    both = max(above + below, 0.0)
    if min(above, below) < 0.0:
        above, below = (both, 0.0) if above >= below else (0.0, both)
    degrees = len(after) - 1
    return _divided(degrees, above), _divided(degrees, below)


def _divided(degrees: int, share: float) -> float:
    return min(degrees / share, MANY) if share > 0.0 else MANY


def _share(a: Array, b: Array) -> float:
    """Return tr Σ_a Σ_b ÷ (tr Σ_a tr Σ_b), both parts estimated without bias for Gaussians.

    Within [0, 1] for a matrix with itself.
    """
    n = len(a)
    if n < FEWEST:
        return 1.0
    f = n - 1
    traces = float(np.trace(a) * np.trace(b)) / f**2
    product = f**2 / ((n + 1) * (n - 2)) * (float((a * b).sum()) / f**2 - traces / f)
    expected = traces - 2.0 / f * product
    if not expected > 0.0:  # a spread of zero
        return 1.0
    share = product / expected
    return float(np.clip(share, 0.0, 1.0)) if a is b else float(share)
