"""What a fit must do whatever the data: never fall, not depend on labels, recover what is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_states import chain, forking, needs_hmmlearn, rng, series, switching

from wingbeat.analyses.states import (
    FittedStates,
    GaussianStates,
    LostStatesError,
    converged_steps,
    detours,
    fit_gaussian,
    fit_states,
    hmm,
    occupancy_fit,
    series_of_table,
)
from wingbeat.errors import RequestError


def permuted(fitted, order):
    """Return the same states under other numbers."""
    model, place = fitted.model, np.argsort(order)
    other = GaussianStates(
        model.start[order], model.transitions[np.ix_(order, order)], model.means[order],
        model.covariances[order],
    )  # fmt: skip
    return replace(fitted, model=other, paths=place[fitted.paths])


@needs_hmmlearn
def test_numbers_of_states_change_nothing_that_is_reported():
    x, times, _ = forking(runs=10, length=30)
    one = fit_states(series(x), (3,), restarts=1)
    two = permuted(one, np.array([2, 0, 1]))
    new = {0: 1, 1: 2, 2: 0}
    for z in one.series.values[:3]:
        assert two.model.log_likelihood([z]) == pytest.approx(
            one.model.log_likelihood([z]), abs=1e-12
        )
        assert [new[k] for k in one.model.decode(z)[0]] == two.model.decode(z)[0].tolist()
    assert two.dissimilarity == pytest.approx(one.dissimilarity, abs=1e-12)
    assert sorted(two.optional) == sorted(new[k] for k in one.optional)
    assert two.table.posterior.to_numpy() == pytest.approx(
        one.table.posterior.to_numpy(), abs=1e-12
    )

    def way(e, names):
        return names[e.source], names[e.target], e.runs, e.step, e.moved

    same = {k: k for k in range(3)}
    first = {way(e, new) for e in one.map.itertuples()}
    assert first == {way(e, same) for e in two.map.itertuples()}
    verdicts = [
        sorted((names[d.state], d.verdict, d.through, d.delay, d.p) for d in detours(f, times))
        for f, names in ((one, new), (two, same))
    ]
    assert str(verdicts[0]) == str(verdicts[1])
    a, b = occupancy_fit(one, times), occupancy_fit(two, times)
    assert (b.r2, b.p, b.r2_last) == pytest.approx((a.r2, a.p, a.r2_last), abs=1e-12)
    again = one.model.ordered(list(one.series.values)), two.model.ordered(list(two.series.values))
    assert (again[0].means == again[1].means).all()


@needs_hmmlearn
def test_the_likelihood_never_falls_from_one_iteration_to_the_next(monkeypatch):
    _, x = chain(4, 50, 3)
    scores = []
    for count in range(1, 13):
        monkeypatch.setattr(hmm, "ITERATIONS", count)
        model = fit_gaussian(list(x), 2, restarts=1, prior=0.0)
        scores.append(model.log_likelihood(list(x)))
    assert scores[-1] > scores[0]
    assert (np.diff(scores) > -1e-9).all()


@needs_hmmlearn
def test_a_start_that_loses_a_state_is_passed_over_and_all_of_them_are_named(monkeypatch):
    real = hmm.hmmlearn()

    class Losing(real.GaussianHMM):
        def score(self, *given):
            if self.n_components == 3 or self.random_state == 0:  # as hmmlearn says it
                raise ValueError("startprob_ must sum to 1 (got nan)")
            return super().score(*given)

    monkeypatch.setattr(hmm, "hmmlearn", lambda: type("module", (), {"GaussianHMM": Losing}))
    _, x = chain(6, 40, 5)
    model = fit_gaussian(list(x), 2, restarts=2)
    assert np.isfinite(model.log_likelihood(list(x)))
    with pytest.raises(LostStatesError, match="each of 2 fits of 3 states"):
        fit_gaussian(list(x), 3, restarts=2)
    rows = fit_states(series(x), (2, 3), restarts=2).selection.set_index("states")
    assert np.isfinite(rows.loc[2, "bic"])
    assert np.isnan(rows.loc[3, "bic"])
    with pytest.raises(LostStatesError, match=r"\[3\]"):
        fit_states(series(x), (3,), restarts=1)


@pytest.mark.slow
@needs_hmmlearn
def test_a_clear_chain_is_recovered_in_every_draw():
    """30 draws, two states five deviations apart, ten restarts each."""
    away, decoded = [], []
    for seed in range(30):
        paths, x = chain(10, 500, seed)
        model = fit_gaussian(list(x), 2, restarts=10, seed=seed)
        low, high = np.argsort(model.means[:, 0])
        names = np.array([low, high]).argsort()
        found = np.stack([names[model.decode(z)[0]] for z in x])
        decoded.append((found == paths).mean())
        for (a, b), p, state in (((low, high), 0.05, 0), ((high, low), 0.1, 1)):
            visits = (paths[:, :-1] == state).sum()
            away.append((model.transitions[a, b] - p) / np.sqrt(p * (1 - p) / visits))
    assert min(decoded) > 0.999
    assert np.abs(away).max() < 4
    assert 0.75 < np.std(away) < 1.25


@pytest.mark.slow
@needs_hmmlearn
def test_one_path_has_no_optional_state_however_many_states_are_asked_for():
    for seed in range(3):
        x, times = switching(runs=40, length=60, seed=seed)
        found = fit_states(series(x), (8,), restarts=3, seed=seed)
        assert found.optional_with(3) == ()
        assert all(d.verdict != "detour" for d in detours(found, times))


@pytest.mark.slow
@needs_hmmlearn
def test_a_real_optional_state_is_found_in_every_draw():
    """12 draws: three states, half of the runs pass through the middle one."""
    for seed in range(12):
        x, _, state = forking(runs=30, length=60, seed=seed)
        found = fit_states(series(x), (2, 3, 4, 5), restarts=5, seed=seed)
        assert found.model.count == 3
        assert found.optional == (1,)
        assert (found.paths == state).mean() > 0.99


# what is said beside the test of detours


def planted_fit(paths, values=None):
    paths = np.asarray(paths)
    k = paths.max() + 1
    model = GaussianStates(
        np.ones(k) / k, np.ones((k, k)) / k, 9.0 * np.arange(k)[:, None], np.ones((k, 1, 1))
    )
    given = series(np.zeros((*paths.shape, 1)) if values is None else values)
    return FittedStates(given, model, paths, None)


def test_the_published_regression_is_that_of_least_squares():
    r = rng(2)
    paths = [[0] * a + [1] * b + [2] * (20 - a - b) for a, b in r.integers(2, 8, (12, 2))]
    found = planted_fit(paths)
    y = 100 * found.occupancy[:, 1] + r.normal(size=12)
    fit = occupancy_fit(found, y)
    design = np.column_stack([np.ones(12), found.occupancy[:, :2]])
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    assert fit.r2 == pytest.approx(1 - rest @ rest / ((y - y.mean()) ** 2).sum(), abs=1e-12)
    alone = np.corrcoef(found.occupancy[:, 2], y)[0, 1] ** 2
    assert fit.r2_last == pytest.approx(alone, abs=1e-12)
    assert fit.p < 1e-6
    assert fit.coefficients[1] > 0
    late = np.where(np.arange(12) < 8, np.inf, y)
    assert np.isnan(occupancy_fit(found, late).r2)
    with pytest.raises(RequestError, match=r"\(3,\)"):
        occupancy_fit(found, y[:3])


def test_the_published_rule_calls_a_late_optional_state_a_detour():
    paths = [[0] * 4 + [1] * (2 + i) + [2] * (14 - i) for i in range(6)]
    paths += [[0] * (4 + i % 2) + [2] * (16 - i % 2) for i in range(6)]
    times = np.array([60.0 + 10 * i for i in range(6)] + [40.0 + i for i in range(6)])
    assert occupancy_fit(planted_fit(paths), times).detours == (1,)


def test_a_stay_of_few_records_is_neither_here_nor_there():
    found = planted_fit([[0, 0, 1, 2, 2]] * 3 + [[0, 0, 0, 2, 2]] * 3)
    assert found.optional_with(1) == (1,)
    assert found.optional_with(2) == ()
    with pytest.raises(RequestError, match="stay is 0"):
        found.optional_with(0)


def test_copies_are_read_on_the_scale_of_the_runs_that_were_fitted():
    r = rng(4)
    paths = np.repeat([[0, 0, 1, 1]], 5, axis=0)
    raw = series(50 + 10 * paths[..., None] + r.normal(size=(5, 4, 1)))
    fitted = planted_fit(paths)
    ready = raw.standardised()
    model = replace(fitted.model, means=np.array([[-1.0], [1.0]]), covariances=np.ones((2, 1, 1)))
    fitted = replace(fitted, series=ready, model=model)
    shifted = replace(raw, values=raw.values + 10)
    assert (fitted.follow(raw) == paths).all()
    assert (fitted.follow(shifted) == 1).sum() > (fitted.follow(raw) == 1).sum()
    each = raw.standardised("run")
    assert each.values == pytest.approx(shifted.on_scale_of(each).values)
    with pytest.raises(RequestError, match="other statistics"):
        shifted.on_scale_of(raw)
    assert raw.only(["r3", "r1"]).values[0] == pytest.approx(raw.values[3])
    with pytest.raises(RequestError, match="nobody"):
        raw.only(["nobody"])


def test_times_to_converge_are_the_first_records_that_reach():
    import pandas as pd

    rows = pd.DataFrame(
        [
            {"metric": m, "layer": "", "a": "", "seed": s, "step": t, "b": "reference", "value": v}
            for m in ("accuracy", "x")
            for s, values in ((0, (0.1, 0.9, 0.2)), (1, (0.1, 0.2, 0.3)))
            for t, v in zip((0, 5, 9), values, strict=True)
        ]
    )
    runs = series_of_table(rows, ["x"])
    assert runs.runs == ("0/reference", "1/reference")
    assert runs.values[0, :, 0].tolist() == [0.1, 0.9, 0.2]
    assert converged_steps(rows, runs.runs, 0.9).tolist() == [5.0, np.inf]
    with pytest.raises(RequestError, match="2/reference"):
        converged_steps(rows, ["2/reference"], 0.9)
