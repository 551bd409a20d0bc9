"""Names of types that many files need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
"""Numbers in double precision, as every estimator computes them."""
Vector = NDArray[Any]
"""Recorded weights in the precision of the model."""
Batch = Any
"""A tuple or dict of tensors, or whatever the data set's samples collate to."""
Buffers = dict[str, "Tensor"]
"""Buffers of a model by name."""
Tensors = Mapping[str, "Tensor"]
"""Named tensors that are only read."""
