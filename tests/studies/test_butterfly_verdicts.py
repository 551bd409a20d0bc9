"""The claims of the spawn-and-perturb study, ruled on values that are made up by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from butterfly_values import made, table_of

from wingbeat.errors import DIVERGED
from wingbeat.stats import Estimate
from wingbeat.studies.butterfly.claims import claims
from wingbeat.studies.butterfly.found import summarised
from wingbeat.studies.butterfly.rulings import ratio
from wingbeat.study.verdicts import FAILS, HOLDS, NOT_RUN, UNDETERMINED, judge


def verdicts(values: pd.DataFrame, *interventions: str) -> dict[str, str]:
    return {c.ident: c.verdict for c in claims(values, interventions)}


def test_the_papers_picture_is_recognised() -> None:
    found = verdicts(made({0.0: 1.5, 0.005: 0.3, 0.02: 0.15, 0.1: 0.02, 0.5: 0.001}))
    expected = dict.fromkeys(
        ("single-weight", "sharp-drop", "tenth", "half-small", "size-at-start", "not-linear"), HOLDS
    )
    assert {k: found[k] for k in expected} == expected
    assert found["half-large"] == FAILS
    assert found["log-linear"] == HOLDS
    assert found["weight-matching"] == NOT_RUN


def test_the_opposite_picture_is_recognised() -> None:
    found = verdicts(made({0.0: 0.01, 0.005: 0.012, 0.1: 0.5, 0.5: 0.6}))
    assert {found[k] for k in ("single-weight", "sharp-drop", "tenth", "half-small")} == {FAILS}


def test_too_few_base_seeds_leave_claims_open() -> None:
    found = verdicts(made({0.0: 1.5, 0.005: 0.3}, seeds=1))
    assert found["sharp-drop"] == found["not-linear"] == found["size-at-start"] == UNDETERMINED
    assert found["tenth"] == found["half-small"] == NOT_RUN


def test_a_wide_interval_leaves_a_claim_open() -> None:
    assert verdicts(made({0.0: 0.12, 0.005: 0.06}, spread=0.9))["single-weight"] == UNDETERMINED


def test_a_diverged_replica_makes_its_cell_undefined() -> None:
    values = made({0.0: 1.5})
    values.loc[0, ["value", "reason"]] = [float("nan"), DIVERGED]
    first = summarised(values).iloc[0]
    assert np.isnan(first["value"])
    assert first["reason"] == DIVERGED
    tested = {c.ident: c for c in claims(values)}
    assert tested["single-weight"].verdict == HOLDS


@pytest.mark.parametrize(("factor", "verdict"), [(0.5, HOLDS), (2.0, FAILS), (1.0, UNDETERMINED)])
def test_an_intervention_is_compared_in_pairs(factor: float, verdict: str) -> None:
    usual = made({0.0: 1.5, 0.02: 0.15})
    other = usual.assign(intervention="long warm-up")
    jitter = np.where(other["seed"] == 1, 1.1, 0.95) if factor == 1.0 else 1.0
    other["value"] = other["value"] * factor * jitter
    found = verdicts(pd.concat([usual, other]), "standard", "long warm-up", "AdamW")
    assert found["long-warm-up"] == verdict
    assert found["AdamW"] == NOT_RUN


def test_a_ratio_pairs_base_seeds_and_skips_what_only_one_has() -> None:
    top = table_of(*(("gaussian", 0.1, 0.1, s, 1, "barrier_train", v) for s, v in ((0, 1), (1, 2))))
    bottom = table_of(
        *(("gaussian", 0.1, 0.0, s, 1, "barrier_train", v) for s, v in ((0, 2), (1, 4))),
        ("batch", 0.1, 0.0, 0, 1, "barrier_train", 100.0),
    )
    found = ratio(top, bottom)
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert ratio(top, bottom[bottom["kind"] == "batch"]) is None
    nothing = ratio(top, bottom.assign(value=0.0))
    assert nothing is not None
    assert nothing.reason == "constant"


def test_judging_is_by_the_whole_interval() -> None:
    e = Estimate(1.0, 0.5, 1.5)
    assert [judge(e, b, above=True) for b in (0.4, 1.0, 2.0)] == [HOLDS, UNDETERMINED, FAILS]
    assert [judge(e, b, above=False) for b in (0.4, 1.0, 2.0)] == [FAILS, UNDETERMINED, HOLDS]
    assert judge(Estimate.undefined(DIVERGED), 0.0, above=True) == UNDETERMINED


def test_small_and_large_sizes_are_judged_apart() -> None:
    """Sizes of 0.1 leave a barrier where sizes up to 0.01 leave none: the paper's figure."""
    values = made({0.0: 1.5, 0.1: 0.02, 0.5: 0.001})
    large = (values["size"] == 0.1) & (values["time"] > 0) & (values["quantity"] == "barrier_train")
    values.loc[large, "value"] += 0.4
    found = verdicts(values)
    assert [found[k] for k in ("tenth", "half-small", "half-large")] == [HOLDS, HOLDS, HOLDS]
    turned = values.assign(value=values["value"].where(values["time"] == 0, 0.5 - values["value"]))
    found = verdicts(turned)
    assert [found[k] for k in ("tenth", "half-small")] == [FAILS, FAILS]
