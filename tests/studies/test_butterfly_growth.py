"""By which law replicas part: rows, claims, table and figure from distances of a known law."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from wingbeat.errors import BELOW_NOISE_FLOOR, TOO_FEW_POINTS
from wingbeat.studies.butterfly.grid import Cell
from wingbeat.studies.butterfly.growth import COLUMNS, law_claims, law_figure, law_table, laws_of

STEPS = np.arange(0, 2000, 40)
GROWS, STANDS, FEW = (
    Cell("gaussian", 0.01, 0.0), Cell("gaussian", 0.1, 0.5), Cell("single", 0.01, 0.0),
)  # fmt: skip
CELLS = (GROWS, STANDS, FEW)
SHAPES = {
    "exponential": lambda t: 0.1 * np.exp(0.002 * t),
    "power": lambda t: 0.1 * (1 + t / 50) ** 1.5,
    "saturating": lambda t: 5 / (1 + 50 * np.exp(-0.006 * t)),
}


def distances(law: str, seeds: int = 3) -> pd.DataFrame:
    """A replica of each cell and base seed: one cell grows, one stands still, one is short."""
    parts = []
    for cell in CELLS:
        steps = STEPS[:5] if cell is FEW else STEPS[cell.time * 2000 <= STEPS]
        for seed in range(seeds):
            for replica in (1,):
                rng = np.random.default_rng([seed, replica, len(cell.kind)])
                since = steps - steps[0]
                shape = SHAPES[law](since) if cell is not STANDS else 1.9 + 0 * since
                value = shape * np.exp(0.03 * rng.normal(size=len(steps)))
                parts.append(
                    pd.DataFrame({"step": steps, "value": value}).assign(
                        metric="l2",
                        layer="",
                        a="reference",
                        b=f"{cell.name}#{replica}",
                        perturbation=cell.name,
                        intervention="standard",
                        reason="",
                        seed=seed,
                    )
                )
    return pd.concat(parts, ignore_index=True)


@cache
def found_of(law: str) -> pd.DataFrame:
    return laws_of(distances(law), CELLS)


@pytest.mark.parametrize("law", SHAPES)
def test_the_law_of_each_replica(law: str) -> None:
    found = found_of(law)
    assert tuple(found.columns) == COLUMNS
    assert len(found) == 3 * 3
    own = found[(found["kind"] == "gaussian") & (found["time"] == 0)]
    assert (own["law"] == law).mean() >= 2 / 3
    assert own["grown"].to_numpy() == pytest.approx(SHAPES[law](1960) / SHAPES[law](0), rel=0.3)
    still = found[found["time"] == 0.5]
    assert set(still["law"]) == {"none"}
    few = found[found["kind"] == "single"]
    assert set(few["reason"]) == {TOO_FEW_POINTS}
    assert few["law"].isna().all()
    assert set(found["replica"]) == {"1"}


@pytest.mark.parametrize("law", SHAPES)
def test_claims_speak_of_what_grew(law: str) -> None:
    found = found_of(law)
    exponential, saturates = law_claims(found)
    if law == "exponential":
        assert exponential.verdict in ("undetermined", "fails")
    else:
        assert exponential.verdict == "holds"
        assert saturates.verdict == ("holds" if law == "saturating" else "fails")
    grew = found[(found["kind"] == "gaussian") & (found["time"] == 0)]
    lead = grew["saturating_over_power"].groupby(grew["seed"]).mean().mean()
    assert float(saturates.measured.split(" ")[0].replace("−", "-")) == pytest.approx(
        lead, rel=0.02, abs=0.01
    )


def test_without_points_nothing_was_run() -> None:
    table = distances("power")
    short = laws_of(table[table["step"] < 200], CELLS)
    assert [c.verdict for c in law_claims(short)] == ["not run", "not run"]
    assert law_claims(laws_of(table.iloc[:0], CELLS))[0].verdict == "not run"
    assert law_figure(table[table["step"] < 200], GROWS) == []
    assert law_figure(table.iloc[:0], GROWS) == []
    assert law_table(short).rows == ()


def test_points_below_the_noise_floor_are_told() -> None:
    table = distances("power", seeds=1)
    table.loc[table["step"] < 1000, "reason"] = BELOW_NOISE_FLOOR
    found = laws_of(table, CELLS)
    assert found["below_floor"].tolist()[:2] == [0.5, 0.0]
    assert "50 % of their points lie below the noise floor" in law_claims(found)[0].note
    assert "noise floor" not in law_claims(found_of("power"))[0].note
    assert [row[-1] for row in law_table(found).rows] == ["50 %", "0 %"]


def test_table_and_figure() -> None:
    table = distances("saturating")
    shown = law_table(found_of("saturating"))
    assert [row[0] for row in shown.rows] == ["gaussian 0.01 at 0 %", "gaussian 0.1 at 50 %"]
    assert all(len(row) == len(shown.heads) for row in shown.rows)
    assert shown.rows[0][1] == "3"
    assert shown.rows[0][shown.heads.index("saturating")] == "100 %"
    (drawn,) = law_figure(table, GROWS)
    assert [line.name for line in drawn.lines] == [
        "measured", "exponential", "power", "saturating"
    ]  # fmt: skip
    own = table[table["perturbation"] == GROWS.name].groupby("step")["value"].median()
    np.testing.assert_allclose(drawn.lines[0].y, own)
    np.testing.assert_allclose(drawn.lines[3].y, SHAPES["saturating"](STEPS), rtol=0.1)
