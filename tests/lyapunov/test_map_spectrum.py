"""Spectra of maps against closed forms, published values and exact identities."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import systems
import torch
from numpy.testing import assert_allclose
from systems import DOUBLE, vector

from wingbeat.lyapunov import max_exponent, period, spectrum


def gd_quadratic(steps: int, discard: int):
    h = vector(0.1, 0.5, 0.9, 1.7, 2.3)
    found = spectrum(systems.quadratic(h, 0.7), torch.ones(5, dtype=DOUBLE), steps, discard=discard)
    return found, np.sort(np.log(np.abs(1 - 0.7 * h.numpy())))[::-1]


def test_descent_on_a_quadratic() -> None:
    found, expected = gd_quadratic(500, 300)
    assert_allclose(found.exponents, expected, atol=1e-10)
    assert found.reason == ""


def test_the_alignment_of_a_short_run_is_of_order_one_over_its_length() -> None:
    found, expected = gd_quadratic(200, 0)
    error = np.abs(found.exponents - expected).max()
    assert 1e-6 < error < 10 / 200


def test_cubic_descent_has_ln_3() -> None:
    found = max_exponent(systems.double_well(2.0), vector(0.3), 10_000)
    assert found.maximum == pytest.approx(log(3), abs=5e-4)


@pytest.mark.long
def test_cubic_descent_has_ln_3_in_full() -> None:
    found = max_exponent(systems.double_well(2.0), vector(0.3), 100_000)
    assert found.maximum == pytest.approx(log(3), abs=5e-5)


def test_cubic_descent_over_learning_rates() -> None:
    # one call over the learning rates: each is a coordinate of its own initial state
    eta = vector(0.9, 0.995, 1.005, 1.1, 1.23)

    def step(s: dict[str, torch.Tensor], t: int) -> dict[str, torch.Tensor]:
        return {"w": s["w"] - s["eta"] * s["w"] * (s["w"] ** 2 - 1), "eta": s["eta"]}

    start = {"w": torch.full((5,), 0.6, dtype=DOUBLE), "eta": eta}
    found = spectrum(step, start, 1500, discard=1000, batched=True, every=2)
    # the learning rate never moves (exponent 0); w: ln |1 − 2 η| at the minimum, η < 1
    lowest = found.exponents[:, 1]
    assert_allclose(lowest[:2], np.log(np.abs(1 - 2 * eta[:2].numpy())), atol=1e-6)
    assert (lowest[2:] < 0).all()
    after = found.final["w"]
    twice = step(step(found.final, 0), 1)["w"]
    once = step(found.final, 0)["w"]
    assert_allclose(twice.numpy(), after.numpy(), atol=1e-6)
    assert (abs(once - after)[:2] < 1e-4).all()
    assert (abs(once - after)[2:] > 1e-2).all()


@pytest.mark.parametrize(("eta", "expected"), [(0.995, 1), (1.005, 2), (1.231, 2), (1.241, 4)])
def test_periods_of_cubic_descent(eta: float, expected: int) -> None:
    step, w, path = systems.double_well(eta), 0.6, []
    for t in range(12_000):
        w = step(w, t)
        path.append(w)
    assert period(path, longest=8, tolerance=1e-4).period == expected


@pytest.mark.parametrize(("eta", "monotone"), [(0.8234, True), (0.8334, False)])
def test_where_cubic_descent_stops_being_monotone(eta: float, monotone: bool) -> None:
    w = torch.linspace(0.0, (1 + 2 / eta) ** 0.5 - 1e-6, 50_000, dtype=DOUBLE)
    after = systems.double_well(eta)(w, 0)
    falls = (after**2 - 1) ** 2 <= (w**2 - 1) ** 2 + 1e-15
    assert bool(falls.all()) == monotone


def test_the_exponent_at_the_edge_is_zero() -> None:
    found = max_exponent(systems.double_well(1.0), vector(0.6), 20_000, discard=10_000)
    assert found.maximum == pytest.approx(0.0, abs=5e-4)


def test_cubic_descent_diverges_above_two() -> None:
    found = max_exponent(systems.double_well(2.005), vector(0.3), 20_000)
    assert found.reason == "diverged"
    assert np.isnan(found.exponents).all()
    kept = max_exponent(systems.double_well(1.995), vector(0.3), 2_000)
    assert kept.reason == ""


def test_rotated_composite() -> None:
    turn = systems.rotation(3)
    found = spectrum(systems.composite(turn), turn @ vector(0.3, 0.3, 0.3), 3_000, discard=100)
    assert_allclose(found.exponents, [log(3), log(2), log(0.2)], atol=6e-3)


@pytest.mark.long
def test_rotated_composite_in_full() -> None:
    turn = systems.rotation(3)
    found = spectrum(systems.composite(turn), turn @ vector(0.3, 0.3, 0.3), 200_000, discard=100)
    assert_allclose(found.exponents, [log(3), log(2), log(0.2)], atol=1e-3)


def test_logistic() -> None:
    found = max_exponent(systems.logistic, vector(0.3), 30_000, discard=100)
    assert found.maximum == pytest.approx(log(2), abs=1e-3)
    assert abs(found.maximum - log(2)) < 4 * found.errors[0]


def test_henon() -> None:
    found = spectrum(systems.henon, vector(0.1, 0.1), 20_000, discard=100)
    assert_allclose(found.exponents, [0.419, -1.623], rtol=0.01)
    assert found.exponents.sum() == pytest.approx(log(0.3), abs=1e-12)
    assert found.kaplan_yorke.value == pytest.approx(1.258, abs=0.01)


def test_lorenz() -> None:
    h = systems.LORENZ_STEP
    start = vector(1.0, 1.0, 20.0)
    found = spectrum(systems.lorenz, start, 8_000, discard=1_000, every=5)
    assert_allclose(found.exponents / h, [0.906, 0.0, -14.57], atol=0.15)
    assert found.exponents.sum() / h == pytest.approx(-41 / 3, abs=2e-3)


@pytest.mark.long
def test_lorenz_in_full() -> None:
    h = systems.LORENZ_STEP
    found = spectrum(systems.lorenz, vector(1.0, 1.0, 20.0), 400_000, discard=2_000, every=5)
    top, zero, bottom = found.exponents / h
    assert top == pytest.approx(0.906, rel=0.01)
    assert zero == pytest.approx(0.0, abs=0.01)
    assert bottom == pytest.approx(-14.57, rel=0.01)


def test_momentum_takes_the_same_volume_at_every_step() -> None:
    def loss(x: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(x) ** 2).sum() + (x[0] * x[1] - 1) ** 2

    start = {"x": vector(0.3, 0.2, -1.0), "m": vector(0, 0, 0)}
    found = spectrum(systems.heavy_ball(loss, 0.2, 0.9), start, 300)
    assert found.exponents.sum() == pytest.approx(3 * log(0.9), rel=1e-9)
    assert_allclose(found.logs.sum(axis=1), 3 * log(0.9), rtol=1e-9)


def test_cat_map() -> None:
    found = spectrum(systems.cat, vector(0.3, 0.41), 300, discard=50)
    assert_allclose(found.exponents, [systems.CAT_ENTROPY, -systems.CAT_ENTROPY], atol=1e-12)
    assert found.kaplan_yorke.value == pytest.approx(2.0, abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_fewer_tangents_give_the_first_exponents(k: int) -> None:
    start = vector(*np.linspace(0.1, 0.7, 6))
    every = spectrum(systems.coupled_logistic, start, 800, discard=100, seed=3)
    some = spectrum(systems.coupled_logistic, start, 800, discard=100, seed=3, k=k)
    # the first k tangents of a seed do not depend on how many follow
    assert_allclose(some.exponents, every.exponents[:k], atol=0.02)


def test_orthonormalising_less_often_changes_nothing() -> None:
    start = vector(*np.linspace(0.1, 0.7, 6))
    often, seldom = (
        spectrum(systems.coupled_logistic, start, 907, discard=103, every=every) for every in (1, 7)
    )
    assert_allclose(often.exponents, seldom.exponents, atol=1e-9)
    assert seldom.times[-1] == often.times[-1] == 804
    assert_allclose(often.history[-1], often.exponents, atol=1e-12)


def test_both_ways_give_the_same_factors() -> None:
    start = vector(*np.linspace(0.1, 0.7, 6))

    def timed(s: torch.Tensor, t: int) -> torch.Tensor:
        return systems.coupled_logistic(s, t) * (1.0 + 0.0 * t)

    quick = spectrum(systems.coupled_logistic, start, 60, every=3, keep=True)
    plain = spectrum(timed, start, 60, every=3, keep=True)
    assert_allclose(quick.logs, plain.logs, atol=1e-9)
    assert_allclose(quick.r, plain.r, atol=1e-6)
    assert_allclose(quick.q, plain.q, atol=1e-6)


def test_q_and_r_are_what_they_say() -> None:
    found = spectrum(systems.henon, vector(0.1, 0.1), 50, keep=True)
    assert_allclose(
        np.swapaxes(found.q, -1, -2) @ found.q, np.tile(np.eye(2), (50, 1, 1)), atol=1e-12
    )
    assert_allclose(np.tril(found.r, -1), 0.0, atol=1e-14)
    assert_allclose(np.log(np.diagonal(found.r, axis1=-2, axis2=-1)), found.logs)
    x = vector(0.1, 0.1)
    for t in range(50):  # J Q = Q′ R′ along the orbit
        jacobian = np.array([[-2.8 * float(x[0]), 1.0], [0.3, 0.0]])
        x = systems.henon(x, t)
        if t:
            assert_allclose(jacobian @ found.q[t - 1], found.q[t] @ found.r[t], atol=1e-9)


def test_a_linear_change_of_coordinates_changes_nothing() -> None:
    matrix = vector(1.2, 0.4, 0.0, 0.0, 0.8, 0.3, 0.1, 0.0, 0.3).reshape(3, 3)
    change = vector(2.0, 1.0, 0.0, 0.5, 3.0, 0.1, 0.0, 0.2, 5.0).reshape(3, 3)
    moved = change @ matrix @ torch.linalg.inv(change)
    zero = torch.zeros(3, dtype=DOUBLE)
    a = spectrum(lambda s, t: matrix @ s, zero, 300, discard=200)
    b = spectrum(lambda s, t: moved @ s, zero, 300, discard=200)
    assert_allclose(a.exponents, b.exponents, atol=1e-10)
    assert_allclose(
        a.exponents, np.log(np.sort(np.abs(np.linalg.eigvals(matrix)))[::-1]), atol=1e-10
    )


def test_coordinates_drop_out_in_the_long_run() -> None:
    scale = vector(1.0, 100.0)
    a = spectrum(systems.henon, vector(0.1, 0.1), 4000, discard=500)
    b = spectrum(
        lambda s, t: systems.henon(s / scale, t) * scale, vector(0.1, 10.0), 4000, discard=500
    )
    assert_allclose(a.exponents, b.exponents, atol=4 * a.errors.max())


def test_several_initial_states_are_what_each_is_alone() -> None:
    starts = torch.tensor([[0.1, 0.1], [0.2, -0.1], [0.1, 0.1]], dtype=DOUBLE)
    together = spectrum(systems.henon, starts, 60, discard=5, batched=True)
    assert together.exponents.shape == (3, 2)
    assert_allclose(together.exponents[0], together.exponents[2], rtol=0, atol=0)
    for row, start in zip(together.exponents, starts, strict=True):
        assert_allclose(row, spectrum(systems.henon, start, 60, discard=5).exponents, atol=1e-6)
    assert together.history.shape == (55, 3, 2)
    assert len(together.kaplan_yorke) == 3


def test_several_initial_states_of_a_map_with_a_clock() -> None:
    starts = {"x": torch.ones(4, 3, dtype=DOUBLE)}
    found = spectrum(lambda s, t: {"x": s["x"] * 0.5**t}, starts, 5, batched=True)
    assert_allclose(found.exponents, np.full((4, 3), log(0.5) * 2), atol=1e-12)


def test_dictionaries_and_shapes() -> None:
    def step(s: dict[str, torch.Tensor], t: int) -> dict[str, torch.Tensor]:
        return {"a": 0.5 * s["a"], "b": 2.0 * s["b"]}

    start = {"a": torch.ones(2, 2, dtype=DOUBLE), "b": torch.ones((), dtype=DOUBLE)}
    found = spectrum(step, start, 80, discard=60)
    assert_allclose(found.exponents, [log(2)] + 4 * [log(0.5)], atol=1e-10)
    assert found.final["a"].shape == (2, 2)
    assert float(found.final["b"]) == 2.0**80


def test_single_precision() -> None:
    start = torch.tensor([0.1, 0.1])
    found = spectrum(systems.henon, start, 6000, discard=100)
    assert_allclose(found.exponents, [0.419, -1.623], atol=0.03)
    assert found.exponents.sum() == pytest.approx(log(0.3), abs=1e-5)
    assert found.final.dtype == torch.float32


def test_a_large_map_carries_its_tangents() -> None:
    h = torch.linspace(0.1, 1.0, 200, dtype=DOUBLE) ** 2
    found = spectrum(
        systems.quadratic(h, 1.0), torch.ones(200, dtype=DOUBLE), 500, k=3, discard=400
    )
    assert_allclose(found.exponents, np.log(1 - h[:3].numpy()), atol=1e-2)
    assert found.kaplan_yorke.value == 0.0


@pytest.mark.slow
def test_compiling_a_large_map_gives_the_same() -> None:
    h = torch.linspace(0.1, 1.0, 100, dtype=DOUBLE)
    args = systems.quadratic(h, 1.0), torch.ones(100, dtype=DOUBLE), 60
    assert_allclose(
        spectrum(*args, k=2, compiled=True).exponents, spectrum(*args, k=2).exponents, atol=1e-12
    )


def test_the_same_request_gives_the_same_bits() -> None:
    a, b = (spectrum(systems.henon, vector(0.1, 0.1), 500, seed=4) for _ in range(2))
    assert np.array_equal(a.logs, b.logs)
    other = spectrum(systems.henon, vector(0.1, 0.1), 500, seed=5)
    assert not np.array_equal(a.logs[0], other.logs[0])


def test_random_maps_repeat_by_their_seed() -> None:
    # E ln |1 − η h| over h drawn from {.5, 1.5}: |1 − h| = .5 either way
    def step(x: torch.Tensor, t: int) -> torch.Tensor:
        return x * (1 - (0.5 + torch.randint(0, 2, ()).to(x)))

    torch.manual_seed(1)
    found = spectrum(step, vector(1.0), 30)
    assert found.exponents[0] == pytest.approx(log(0.5), abs=1e-12)


def test_a_lost_direction_is_minus_infinity() -> None:
    found = spectrum(systems.quadratic(vector(1.0, 0.5), 1.0), vector(1.0, 1.0), 20)
    assert found.exponents[0] == pytest.approx(log(0.5), abs=0.1)
    assert np.isneginf(found.exponents[1])
    assert found.reason == ""
