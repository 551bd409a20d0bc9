"""The interval of the spread at each step: how often it holds what copies have on average."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from wingbeat.measure.builtin.spread import spread
from wingbeat.measure.table import TableBuilder
from wingbeat.measure.weights import Weights

SPECTRA = {
    "one direction": np.eye(12)[0],
    "twelve alike": np.ones(12),
    "falling": 0.5 ** np.arange(12),
}
LABELS = ("reference", "null")


def measured(points: np.ndarray) -> pd.DataFrame:
    """Return the rows of copies (T, N, P), each moment drawn anew, a step each."""
    t, n, _ = points.shape
    away = points - points[:, :1]
    labels = (*LABELS, *(f"g@0#{i + 1}" for i in range(n)))
    weights = Weights(
        steps=np.arange(t),
        labels=labels,
        layers=("w",),
        present=np.ones((t, len(labels)), dtype=bool),
        apart2=np.zeros((t, 1, len(labels))),
        cross=np.zeros((t, 1, len(labels))),
        norm2=np.ones((t, 1)),
        moved=np.zeros((t - 1, len(labels))),
        groups={"g@0": np.einsum("tnp,tmp->tnm", away, away)[:, None]},
    )
    context = SimpleNamespace(weights=weights, shared={}, out=TableBuilder())
    spread(context)
    table = context.out.table()
    return table[table.layer == ""]


def ends(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    return table[table.metric == metric].sort_values("step")


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_interval_holds_the_average_of_as_many_copies(name: str, n: int) -> None:
    trials, sizes = 600, SPECTRA[name]
    drawn = np.random.default_rng(n).normal(size=(trials, n, len(sizes))) * np.sqrt(sizes)
    table = measured(drawn)
    values, low, high = (
        ends(table, metric).value.to_numpy() for metric in ("spread", "spread_low", "spread_high")
    )
    assert values == pytest.approx(np.sqrt(drawn.var(axis=1).sum(axis=1)))
    truth = np.sqrt((n - 1) / n * sizes.sum())  # root mean square of what N copies have
    assert np.sqrt((values**2).mean()) == pytest.approx(truth, rel=0.1)
    covered = float(((low <= truth) & (truth <= high)).mean())
    error = (0.95 * 0.05 / trials) ** 0.5
    assert covered >= 0.94 - 2 * error, covered
    assert (low < values).all()
    assert (values < high).all()


def test_what_has_no_interval_says_why() -> None:
    rng = np.random.default_rng(0)
    few = measured(rng.normal(size=(2, 2, 4)))
    equal = measured(np.ones((2, 5, 4)))
    lost = rng.normal(size=(2, 5, 4))
    lost[1, 2] = np.inf
    with np.errstate(invalid="ignore"):
        broken = measured(lost)
    for end in ("spread_low", "spread_high"):
        assert list(ends(few, end).reason) == ["too_few_replicas"] * 2
        assert list(ends(equal, end).reason) == ["constant"] * 2
        assert list(ends(broken, end).reason) == ["", "diverged"]
        assert ends(broken, end).value.isna().tolist() == [False, True]
