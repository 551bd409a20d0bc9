"""What a comparison of checkpoints found: sums, scalars, the tidy table, and ways out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.brief import brief
from wingbeat.checkpoints.moments import ratio
from wingbeat.typing import Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from wingbeat.checkpoints.adapters import Adapters
    from wingbeat.checkpoints.moments import WeightMoments
    from wingbeat.checkpoints.names import LeftOut
    from wingbeat.metrics import PCA


@dataclass(frozen=True)
class Comparison:
    """What a comparison found; n checkpoints, the first is the reference.

    Attributes:
        paths: what was compared.
        labels: their names in the table.
        steps: their training steps, or their places.
        formats: what each path turned out to be.
        checked: whether each had a checksum that fits.
        moments: the sums that everything is made of.
        left_out: tensors that were not compared, with the reason.
        memory: bytes of the buffers that were used.
        notes: what was chosen in opening the files, in sentences.
        adapters: distances of what low-rank adapters add; None where there are none.
    """

    paths: tuple[Path, ...]
    labels: tuple[str, ...]
    steps: tuple[int, ...]
    formats: tuple[str, ...]
    checked: tuple[bool, ...]
    moments: WeightMoments = field(repr=False)
    left_out: tuple[LeftOut, ...] = field(repr=False)
    memory: int
    notes: tuple[str, ...] = ()
    adapters: Adapters | None = None

    __repr__ = brief

    @property
    def parameters(self) -> int:
        """Count of numbers that were compared, in one checkpoint."""
        return int(self.moments.numbers.sum())

    @property
    def gram(self) -> Array:
        """Inner products of the checkpoints about the first, (n, n), weight²."""
        return self.moments.gram

    @property
    def l2(self) -> Array:
        """Distance of each to the first, (n,), weight, ≥ 0, 0 = identical (exactly)."""
        return self.moments.l2

    @property
    def relative_l2(self) -> Array:
        """That distance ÷ the norm of the first, (n,), ≥ 0, 0 = identical; NaN if it is 0."""
        return self.moments.relative_l2

    @property
    def cosine(self) -> Array:
        """Cosine of the angle to the first, (n,), in [−1, 1], 1 = same direction."""
        return self.moments.cosine

    @property
    def spread(self) -> float:
        """√(Σ Var) over all checkpoints (ddof 0), weight, ≥ 0, 0 = identical."""
        return float(np.sqrt(self.moments.variance.sum()))

    @property
    def distances(self) -> Array:
        """Distances of all pairs, (n, n), weight, ≥ 0, 0 = identical."""
        return self.moments.distances

    def pca(self, k: int = 3) -> PCA:
        """Return the coordinates of the checkpoints along their leading principal components.

        Args:
            k: number of components, 1 to n.

        Returns:
            See `wingbeat.metrics.trajectory_pca`.

        Raises:
            RequestError: for k outside 1 … n.
        """
        return self.moments.pca(k)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Tidy rows: metric, step, perturbation, a, b, layer, value, reason.

        ``layer`` is "" for the whole model, a tensor's name, or ``"model.layers.0.*"`` for all
        tensors of a block. l2, relative_l2 and cosine stand for every checkpoint against the
        first, whole and by layer, and for all other pairs of the whole model; spread for all
        together; l2_product and relative_l2_product for what low-rank adapters add, where there
        are any; pc1 … pc3 for every checkpoint, pca_explained with the component as ``step``.
        """
        from wingbeat.checkpoints.table import tidy

        return tidy(self.moments, self.labels, self.steps, self.adapters)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the layers of the table as JSON-safe values; NaN is None."""
        kept = min(3, len(self.labels) - 1)
        pca = self.pca(kept)
        return {
            "labels": list(self.labels),
            "paths": [str(path) for path in self.paths],
            "steps": list(self.steps),
            "formats": list(self.formats),
            "checked": list(self.checked),
            "tensors": len(self.moments.names),
            "parameters": self.parameters,
            "norm": _safe(np.sqrt(self.moments.norm2.sum())),
            "l2": _safe(self.l2),
            "relative_l2": _safe(self.relative_l2),
            "cosine": _safe(self.cosine),
            "spread": _safe(self.spread),
            "distances": _safe(self.distances),
            "gram": _safe(self.gram),
            "pca": {"scores": _safe(pca.scores), "explained": _safe(pca.explained)},
            "layers": [
                {"name": n, "numbers": int(p), "l2": _safe(d), "relative_l2": _safe(r)}
                for n, p, d, r in zip(
                    self.moments.names,
                    self.moments.numbers,
                    np.sqrt(self.moments.apart2),
                    ratio(np.sqrt(self.moments.apart2), np.sqrt(self.moments.norm2)[:, None]),
                    strict=True,
                )
            ],
            "left_out": [{"name": x.name, "why": x.why, "detail": x.detail} for x in self.left_out],
            "notes": list(self.notes),
            "adapters": None if self.adapters is None else _products(self.adapters),
            "buffer_bytes": self.memory,
        }

    def json(self) -> str:
        """Return `to_json` as one text."""
        return json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False, indent=1)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table as CSV; a cell that a spreadsheet would compute is made harmless.

        Raises:
            StoreError: the file cannot be written.
        """
        from wingbeat.checkpoints.csv_safe import write_csv

        return write_csv(self.table, Path(path))

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the layers' relative distances, and with three or more the map and all pairs.

        Args:
            path: where to write the picture; its suffix is the format.
        """
        from wingbeat.checkpoints.draw import draw

        return draw(self.moments, self.labels, None if path is None else Path(path))


def _products(found: Adapters) -> dict[str, Any]:
    return {
        "scales": list(found.scales),
        "l2": _safe(found.total),
        "relative_l2": _safe(found.relative),
        "layers": [
            {"name": name, "l2": _safe(row)}
            for name, row in zip(found.layers, found.l2, strict=True)
        ],
    }


def _safe(value: Any) -> Any:
    found = np.asarray(value, dtype=float).tolist()
    return _without_nan(found)


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return value if np.isfinite(value) else None
