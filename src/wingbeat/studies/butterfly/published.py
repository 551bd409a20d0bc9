"""The paper's barriers, and the table that holds ours beside them."""

from __future__ import annotations

from typing import Final

import pandas as pd

from wingbeat.report.figures.estimates import estimate_text
from wingbeat.report.figures.table import Table
from wingbeat.report.prose import number
from wingbeat.studies.butterfly.found import estimate_of, records

PUBLISHED: Final[dict[tuple[float, str], tuple[tuple[float, float], ...]]] = {
    (0.0, "batch"): ((1.82, 1.26), (1.82, 1.17), (2.12, 1.12), (2.58, 1.08), (2.43, 0.64)),
    (0.0, "gaussian"): ((1.62, 1.56), (1.18, 1.38), (1.40, 1.48), (1.26, 1.38), (1.46, 1.81)),
    (0.005, "batch"): ((0.48, 0.35), (0.32, 0.09), (0.37, 0.09), (0.52, 0.23), (0.82, 0.27)),
    (0.005, "gaussian"): ((0.28, 0.09), (0.31, 0.04), (0.38, 0.12), (0.35, 0.09), (0.36, 0.03)),
    (0.02, "batch"): ((0.15, 0.04), (0.20, 0.09), (0.18, 0.08), (0.30, 0.14), (0.69, 0.26)),
    (0.02, "gaussian"): ((0.12, 0.02), (0.12, 0.02), (0.16, 0.05), (0.20, 0.06), (0.18, 0.09)),
    (0.1, "batch"): ((0.02, 0.01), (0.02, 0.02), (0.02, 0.01), (0.02, 0.01), (0.06, 0.08)),
    (0.1, "gaussian"): ((0.02, 0.02), (0.02, 0.01), (0.02, 0.02), (0.02, 0.01), (0.02, 0.01)),
    (0.5, "batch"): ((0.0, 0.0),) * 5,
    (0.5, "gaussian"): ((0.0, 0.0),) * 5,
}
"""Barrier of the training loss, mean and standard deviation, by time and kind, for each of
``PUBLISHED_SIZES``: ResNet-20 of width 32 on all of CIFAR-10, 20,000 steps. From stored output of
the authors' notebook; that these are the published figure's values is unverified."""
PUBLISHED_SIZES: Final = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def beside_published(cells: pd.DataFrame) -> Table:
    """Return our barriers of the standard recipe beside the paper's, mean ± standard deviation.

    Every cell that either of the two has is a row; "–" where one of them has none.
    """
    own = cells[(cells["intervention"] == "standard") & (cells["quantity"] == "barrier_train")]
    here = {(row.time, row.kind, row.size): row for row in records(own)}
    there = {
        (time, kind, size): value
        for (time, kind), known in PUBLISHED.items()
        for size, value in zip(PUBLISHED_SIZES, known, strict=True)
    }
    rows = []
    for time, kind, size in sorted({*here, *there}):
        row, known = here.get((time, kind, size)), there.get((time, kind, size))
        cells_here = ("–", "–")
        if row is not None:
            estimate = estimate_of(row)
            sd = f"{number(row.value)} ± {number(row.sd)}" if not row.reason else "–"
            cells_here = (sd, estimate_text(estimate))
        said = "–" if known is None else f"{known[0]:.2f} ± {known[1]:.2f}"
        rows.append((f"{100 * time:g} %, {kind}, {size:g}", said, *cells_here))
    heads = ("time, kind, size", "paper", "here, mean ± sd", "here, 95 % interval of the mean")
    return Table(heads, tuple(rows))
