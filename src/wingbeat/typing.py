"""Names of types that many files need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""Numbers in double precision, as every estimator computes them."""
Vector = NDArray[Any]
"""Recorded weights in the precision of the model."""
