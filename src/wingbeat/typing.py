"""Names of types that many files need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
"""Numbers in double precision, as every estimator computes them."""
Vector = NDArray[Any]
"""Recorded weights in the precision of the model."""
Buffers = dict[str, "Tensor"]
"""Buffers of a model by name."""
