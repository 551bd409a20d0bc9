"""Measures that run the models themselves, beyond a pass over the evaluation data.

To add one:

1. in `wingbeat.metrics.catalogue`, an entry with ``needs="models"`` that names its rows;
2. a function that takes a `Scene` and adds rows to ``scene.out``, in a module of its own here;
3. its name in `MEASURES` below;
4. for a scalar in the summary, ``scene.scalars[perturbation][name] = Scalar(values)`` with one
   value for each replica of the perturbation: mean and interval over replicas, nested in base
   seeds, are made of it.

The measure runs under the run's seed with deterministic algorithms, once training is done. What a
replica cannot have is NaN with a reason, never a missing row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingbeat.measure import aligned
from wingbeat.measure.barriers import barriers
from wingbeat.measure.fishers import fishers
from wingbeat.measure.representations import representations
from wingbeat.measure.sharpness import sharpnesses
from wingbeat.measure.soups import soups

if TYPE_CHECKING:
    from collections.abc import Callable

    from wingbeat.measure.scene import Scene

MEASURES: dict[str, Callable[[Scene], None]] = {
    "barrier": barriers,
    "fisher_kl": fishers,
    "sharpness": sharpnesses,
    "cka": representations,
    "l2_aligned": aligned.distances,
    "barrier_aligned": aligned.barriers,
    "soup": soups,
}
"""What each metric that needs models is measured by."""
