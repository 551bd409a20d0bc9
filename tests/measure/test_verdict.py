"""What a verdict carries: copies that grew, contradictions, exponents that are no headline."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import wingbeat as wb
from wingbeat.execution.result import as_json
from wingbeat.measure.exponents import Saturation
from wingbeat.measure.summary import PerturbationStatistics, behavior, summarise
from wingbeat.measure.verdict import Verdict, of_all

STEPS = np.arange(0, 60, 5)


def statistics(paths, floor=0.0):
    """Copies that each go along one axis of their own: distances (T, N) say all."""
    paths = np.asarray(paths, dtype=float)
    grams = np.stack([np.diag(row**2) for row in paths])
    return PerturbationStatistics(
        seed=0,
        steps=STEPS[: len(paths)],
        distances=paths,
        grams=grams,
        projected=None,
        floor=floor,
        saturation=Saturation(np.inf, "estimated"),
        disagreement=None,
        steps_per_epoch=5,
    )


def judged(*facts):
    found = summarise(facts)
    summary = {key: estimate.to_json() for key, estimate in found.items()}
    summary["behavior"] = behavior(facts, found["convergence_ratio"])
    return Verdict.of(summary)


def paths(factors, start=1e-6, bend=1.0):
    """Copies that grow by these factors over the run, along a line in ln distance if bend is 1."""
    way = (STEPS / STEPS[-1]) ** bend
    return start * np.asarray(factors)[None, :] ** way[:, None]


def test_four_of_five_copies_grew_and_one_stayed():
    found = judged(statistics(paths([80, 75, 90, 85, 1])))
    assert (found.grown, found.copies, found.mixed) == (4, 5, True)
    assert found.growth == pytest.approx((1, 90))


@pytest.mark.parametrize(
    ("factors", "grown", "mixed"), [([80] * 4 + [79], 5, False), ([0.5, 0.4, 0.3], 0, False)]
)
def test_copies_that_all_do_the_same(factors, grown, mixed):
    found = judged(statistics(paths(factors)))
    assert (found.grown, found.mixed) == (grown, mixed)


def test_base_seeds_are_counted_together():
    found = judged(statistics(paths([2, 3, 0.5])), statistics(paths([0.5, 0.4, 0.3])))
    assert (found.grown, found.copies) == (2, 6)


def test_what_broke_down_has_grown_and_what_was_broken_is_not_counted():
    late, early = paths([2, 3, 0.5]), paths([2, 3, 0.5])
    late[-1, 2], early[0, 2] = np.nan, np.nan
    found = judged(statistics(late))
    assert (found.grown, found.copies) == (3, 3)
    assert math.isnan(found.growth[0])
    assert judged(statistics(early)).copies == 0


def test_distances_below_the_floor_have_no_factor():
    found = judged(statistics(paths([2, 3, 4]), floor=2e-6))
    assert math.isnan(found.growth[1])
    assert found.grown == 2  # 2e-6 is not above the floor


@pytest.mark.parametrize(
    ("value", "exponent", "r2", "said"),
    [
        ((0.4, 0.3, 0.5), (0.1, 0.05, 0.2), 0.9, True),
        ((3.0, 2.0, 4.0), (-0.1, -0.2, -0.05), 0.9, True),
        ((3.0, 2.0, 4.0), (0.1, 0.05, 0.2), 0.9, False),  # they agree
        ((0.9, 0.6, 1.2), (0.1, 0.05, 0.2), 0.9, False),  # the ratio is not beyond doubt
        ((0.4, 0.3, 0.5), (0.1, -0.05, 0.2), 0.9, False),  # the exponent is not
        ((0.4, 0.3, 0.5), (0.1, 0.05, 0.2), 0.5, False),  # there is no one exponent
        ((0.4, None, None), (0.1, 0.05, 0.2), 0.9, False),
    ],
)
def test_ratio_and_exponent_of_opposite_signs(value, exponent, r2, said):
    entry = {"reason": ""}
    parts = ("value", "low", "high")
    summary = {
        "convergence_ratio": entry | dict(zip(parts, value, strict=True)),
        "lyapunov": entry | dict(zip(parts, exponent, strict=True)),
        "lyapunov_r2": entry | {"value": r2},
    }
    assert Verdict.of(summary).contradicted is said
    assert Verdict.of(summary).to_json()["ratio_and_exponent_disagree"] is said


def test_a_line_that_explains_little_gives_no_exponent():
    straight = judged(statistics(paths([20, 21, 22])))
    assert straight.one_rate
    wave = paths([20, 21, 22]) * np.exp(3 * np.sin(STEPS / 5))[:, None]
    found = judged(statistics(wave))
    assert found.poor_fit
    assert found.r2 < 0.8
    assert found.to_json()["exponent"] is None
    assert math.isfinite(found.exponent.value)


def test_a_constant_distance_has_an_exponent_of_zero_and_no_share():
    found = judged(statistics(paths([1, 1, 1])))
    assert found.exponent.value == 0
    assert math.isnan(found.r2)
    assert not found.poor_fit


def test_the_word_asks_for_more_than_the_interval_of_the_ratio():
    """An interval of 95 % that leaves 1 out by little gives no verdict."""
    rng = np.random.default_rng(0)
    words = set()
    for drift in np.linspace(0.02, 0.6, 30):
        start = rng.normal(size=(5, 40))
        end = start * np.exp(drift) + 0.3 * rng.normal(size=(5, 40))
        fact = statistics(paths([2] * 5))
        grams = np.stack([start @ start.T, *[end @ end.T] * (len(STEPS) - 1)])
        fact = PerturbationStatistics(**{**vars(fact), "grams": grams})
        found = judged(fact)
        outside = found.ratio.low > 1
        words.add((found.behavior, outside))
        assert found.judged.low <= found.ratio.low
        assert (found.behavior == "divergent") == (found.judged.low > 1)
    assert words == {("undetermined", False), ("undetermined", True), ("divergent", True)}


def test_json_and_result_carry_it():
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    task = wb.Task(
        model=lambda: torch.nn.Linear(3, 1),
        loss=lambda model, batch: (model(batch[0])[:, 0] - batch[1]).square().mean(),
        data=(x, x[:, 0]),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=16,
        steps=40,
    )
    result = wb.run(task, [wb.Gaussian(0.1), wb.Ulp(1, at=20)], replicas=4, driver="loop")
    found = json.loads(as_json(result))["verdicts"]
    assert list(found) == ["gaussian-0.1@0", "ulp-1@20"]
    assert found["gaussian-0.1@0"]["behavior"] == "convergent"
    assert found["gaussian-0.1@0"]["copies"] == 4
    assert found["gaussian-0.1@0"]["copies_grown"] == 0
    assert found["gaussian-0.1@0"]["training"]["state"] == "trained"
    assert of_all(result.summary)["ulp-1@20"] == result.verdict("ulp-1@20")
    assert result.verdict() == result.verdict("gaussian-0.1@0")
    assert "0 of 4 copies grew" in str(result)
