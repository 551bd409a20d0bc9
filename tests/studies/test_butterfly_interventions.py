"""What an intervention changes, held to SciPy's test of paired samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from butterfly_values import made
from scipy.stats import ttest_rel

from wingbeat.errors import DIVERGED
from wingbeat.replicas.fork import REFERENCE
from wingbeat.studies.butterfly.claims import claims
from wingbeat.studies.butterfly.interventions import accuracies, compared, intervention_table

USUAL = made({0.0: 1.5, 0.02: 0.15, 0.1: 0.02})
PLACE = ["kind", "size", "time", "seed"]


def other(name: str, factor: float, times: tuple[float, ...] = (0.02,)) -> pd.DataFrame:
    """The same values under an intervention, at some of the times, moved a little by base seed."""
    rows = USUAL[USUAL["time"].isin(times)].assign(intervention=name)
    return rows.assign(value=rows["value"] * (factor + 0.05 * rows["seed"]))


@pytest.mark.parametrize("quantity", ["barrier_train", "l2"])
def test_differences_are_those_of_paired_samples(quantity: str) -> None:
    wide = other("wide and shallow", 0.5)
    rows = compared(pd.concat([USUAL, wide])).set_index("quantity")
    sides = [
        values[(values["quantity"] == quantity) & (values["time"] == 0.02)]
        .groupby(PLACE)["value"].mean().groupby("seed").mean()
        for values in (wide, USUAL)
    ]  # fmt: skip
    expected = ttest_rel(*sides).confidence_interval()
    found = rows.loc[quantity]
    # Ours is from resampling, at Student's quantile.
    assert [found["low"], found["high"]] == pytest.approx([*expected], rel=0.01)
    assert [found["here"], found["standard"]] == pytest.approx([s.mean() for s in sides])
    assert (found["seeds"], found["needed"]) == (3, 0)


def test_an_open_difference_says_how_many_seeds_would_decide() -> None:
    noisy = other("AdamW", 1.0)
    noisy["value"] = noisy["value"] * np.where(noisy["seed"] == 1, 0.8, 1.0)
    row = compared(pd.concat([USUAL, noisy])).set_index("quantity").loc["barrier_train"]
    assert row["low"] < 0 < row["high"]
    assert row["needed"] > 3
    (own,) = [c for c in claims(pd.concat([USUAL, noisy]), ["AdamW"]) if c.ident == "AdamW"]
    assert f"{row['needed']:,} base seeds decide it" in own.note
    assert own.needed == row["needed"]


@pytest.mark.parametrize(
    ("name", "batch", "factor", "verdict"),
    [
        ("batch_size=32", 64, 2.0, "holds"),  # higher barriers with fewer samples
        ("batch_size=32", 64, 0.5, "fails"),
        ("batch_size=256", 64, 0.5, "holds"),
        ("batch_size=256", 64, 2.0, "fails"),
        ("batch_size=64", 64, 2.0, None),
        ("batch_size=32", 0, 2.0, None),
        ("hidden=[8]", 64, 2.0, None),
    ],
)
def test_a_batch_of_another_size_is_judged_by_what_is_said_of_larger_ones(
    name: str, batch: int, factor: float, verdict: str | None
) -> None:
    found = claims(pd.concat([USUAL, other(name, factor)]), [name], batch)
    assert [c.verdict for c in found if c.ident == name] == [verdict] * (verdict is not None)


def test_only_cells_of_both_recipes_and_whole_base_seeds_count() -> None:
    both = pd.concat([USUAL, other("AdamW", 2.0, (0.02, 0.1)), other("long warm-up", 1.0)])
    both = both[~((both["intervention"] == "standard") & (both["time"] == 0.1))]
    both = both.reset_index(drop=True)
    alone = compared(pd.concat([USUAL, other("AdamW", 2.0)]))
    pd.testing.assert_frame_equal(compared(both)[: len(alone)], alone)
    broken = (both["intervention"] == "AdamW") & (both["seed"] == 2) & (both["time"] == 0.02)
    both.loc[broken[broken].index[0], ["value", "reason"]] = [float("nan"), DIVERGED]
    rows = compared(both)
    own = rows[rows["intervention"] == "AdamW"]
    assert own["seeds"].min() == 2
    assert own[own["seeds"] == 2][["low", "high"]].isna().all(axis=None)


def test_nothing_is_compared_without_another_recipe() -> None:
    assert not len(compared(USUAL))
    assert not len(compared(other("AdamW", 1.0)))


def test_accuracies_are_the_last_of_each_reference() -> None:
    rows = [
        ("k", 0, step, "accuracy", REFERENCE, b, value, "standard")
        for step, value in ((0, 0.1), (10, 0.6))
        for b in (REFERENCE, "gaussian-0.1@0#1")
    ]
    names = ["key", "seed", "step", "metric", "a", "b", "value", "intervention"]
    found = accuracies(pd.DataFrame(rows, columns=names))
    assert found[["intervention", "seed", "quantity", "value"]].to_numpy().tolist() == [
        ["standard", 0, "accuracy", 0.6]
    ]


def test_the_table_names_what_is_compared() -> None:
    table = intervention_table(compared(pd.concat([USUAL, other("wide and shallow", 0.5)])))
    row = next(r for r in table.rows if r[1] == "barrier, training loss")
    assert row[0] == "wide and shallow"
    assert row[4].startswith("-") or row[4].startswith("−")
    assert row[5] == "–"
