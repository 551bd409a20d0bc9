"""What single papers look at, against closed forms: docs/observables.md names the sources."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest

from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES, RequestError
from wingbeat.metrics.activation import flips, partition
from wingbeat.metrics.collapse import neural_collapse
from wingbeat.metrics.drift import kernel_drift, unit_drift
from wingbeat.metrics.imitation import elastic_rates
from wingbeat.metrics.kernel import elasticity, local_elasticity
from wingbeat.metrics.mmd import feature_gap
from wingbeat.metrics.signs import exact_zeros, period_two, sign_flips
from wingbeat.metrics.units import purified_share, unit_cosine


def rng(seed=0):
    return np.random.default_rng(seed)


# local elasticity


def test_elasticity_of_a_linear_model_is_that_of_an_update():
    """Any loss: an update on x moves f(x') by x'·x times the same number as f(x) by |x|²."""
    x, w = rng().normal(size=(12, 5)), rng(1).normal(size=5)
    slope = np.tanh(x @ w)  # derivative of log cosh
    expected = np.empty((12, 12))
    for j in range(12):
        moved = x @ (w - 0.3 * slope[j] * x[j]) - x @ w
        expected[:, j] = np.abs(moved) / np.abs(moved[j])
    assert elasticity(x @ x.T) == pytest.approx(expected, abs=1e-12)


def test_elasticity_of_two_orthogonal_classes():
    labels = np.array([0, 0, 1, 1])
    found = local_elasticity(np.kron(np.eye(2), np.ones((2, 2))), labels)
    assert (found.within, found.between) == (1.0, 0.0)
    assert np.isnan(found.ratio)
    flat = local_elasticity(np.ones((4, 4)), labels)
    assert flat.ratio == 1.0


def test_random_labels_are_not_elastic_on_average():
    x = rng(3).normal(size=(40, 60))
    kernel = x @ x.T
    drawn = [local_elasticity(kernel, rng(i).integers(0, 4, 40)).ratio for i in range(300)]
    assert np.mean(drawn) == pytest.approx(1.0, abs=3 * np.std(drawn) / sqrt(300))


def test_imitated_rates_of_a_simulated_equation():
    """Ẋ = [αX_c + βΣX_c']/K with known α, β by Euler: A(30) = 9.140, B(30) = −.6878."""
    k, dt, steps = 3, 0.01, 3000
    x, path = rng(4).normal(size=(k, 4)) + 1.0, []
    for n in range(steps + 1):
        path.append(x)
        a, b = (1 + n * dt) ** -0.5, -0.2 / (1 + n * dt)
        others = x.sum(axis=0) - x
        x = x + dt * (a * x + b * others) / k
    found = elastic_rates(np.array(path))
    assert found.within[-1] == pytest.approx(2 * (sqrt(31) - 1) * 1.0, rel=1.5e-3)
    assert found.between[-1] == pytest.approx(-0.2 * np.log(31), rel=2e-3)


# neural collapse


@pytest.mark.parametrize("n", [20, 200])
def test_a_noisy_simplex_collapses_as_the_noise(n):
    k, s = 5, 0.1
    corners = sqrt(k / (k - 1)) * (np.eye(k) - 1 / k)
    labels = np.repeat(np.arange(k), n)
    expected = s**2 * (1 - 1 / n) * (k - 1) ** 2 / k
    draws = [
        neural_collapse(corners[labels] + s * rng(i).normal(size=(k * n, k)), labels).nc1
        for i in range(100)
    ]
    # Class means are noisy too, which makes the covariance between them larger by about s²/n·K.
    bias = 1 + s**2 * (k - 1) / n
    low, high = expected / bias - 3 * np.std(draws) / 10, expected + 3 * np.std(draws) / 10
    assert low <= np.mean(draws) <= high
    exact = neural_collapse(corners[labels], labels, 7 * corners)
    assert exact.nc1 < 1e-28
    assert exact.nc2_angle < 1e-12
    assert exact.nc2_norm < 1e-12
    assert exact.nc3 < 1e-12


def test_collapse_says_why_it_has_no_value():
    x, labels = rng().normal(size=(6, 4)), np.array([0, 0, 1, 1, 2, 2])
    assert neural_collapse(x[:5], labels[:5]).reason == TOO_FEW_SAMPLES
    assert neural_collapse(x, np.zeros(6, int)).reason == TOO_FEW_SAMPLES
    assert neural_collapse(np.ones((6, 4)), labels).reason == CONSTANT
    assert neural_collapse(np.where(x > 1, np.nan, x), labels).reason == DIVERGED
    narrow = neural_collapse(x[:, :1], labels)  # one dimension: the covariance has one direction
    assert np.isfinite(narrow.nc1)
    with pytest.raises(RequestError, match="a row for each class"):
        neural_collapse(x, labels, np.ones((2, 4)))


# activation patterns


@pytest.mark.parametrize("cosine", [0.999, 0.9, 0.5, 0.0, -0.5])
def test_flips_for_isotropic_inputs_are_the_angle(cosine):
    x = rng(5).normal(size=(200_000, 2))
    w = np.array([[1.0, 0.0], [cosine, sqrt(1 - cosine**2)]])
    share = flips(x @ w[:1].T > 0, x @ w[1:].T > 0)
    p = np.arccos(cosine) / pi
    assert share == pytest.approx(p, abs=4 * sqrt(p * (1 - p) / 200_000))


def test_flips_under_scale_and_sign_are_exact():
    x, w = rng().normal(size=(50, 7)), rng(1).normal(size=(7, 3))
    bits = x @ w > 0
    assert flips(bits, x @ (5 * w) > 0) == 0.0
    assert flips(bits, x @ -w > 0) == 1.0
    with pytest.raises(RequestError, match="same samples and units"):
        flips(bits, bits[:, :1])


def test_a_partition_by_hand():
    bits = np.array([[0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 0, 1]], dtype=bool)
    found = partition(bits, np.array([0, 0, 1]))
    assert (found.dead, found.always_on, found.split, found.one_class) == (0.25, 0.25, 0.5, 0.25)


# drift


@pytest.mark.parametrize("rho", [0.9, 0.5, 0.0])
def test_units_turn_and_a_wide_layers_kernel_stays(rho):
    x = rng(6).normal(size=(100, 30))
    kernels = []
    for width in (100, 1000, 10_000):
        w, noise = rng(7).normal(size=(width, 30)), rng(8).normal(size=(width, 30))
        then, now = x @ w.T, x @ (rho * w + sqrt(1 - rho**2) * noise).T
        assert unit_drift(now, then) == pytest.approx(1 - rho, abs=0.06 if width == 100 else 0.02)
        kernels.append(kernel_drift(now, then, "biased"))
    assert kernels[0] > kernels[1] > kernels[2]
    assert kernels[2] < 0.003


def test_a_rotation_turns_units_and_not_the_kernel():
    x = rng(9).normal(size=(60, 8))
    q = np.linalg.qr(rng(10).normal(size=(8, 8)))[0]
    assert abs(kernel_drift(x @ q + 3.0, x)) < 1e-12
    assert unit_drift(x @ q, x) > 0.1
    assert unit_drift(x, x) == kernel_drift(x, x) == 0.0
    assert np.isnan(unit_drift(np.ones((4, 2)), x[:4, :2]))


def test_lagged_correlation_of_descent_with_noise_is_geometric():
    """SGD on a quadratic at stationarity: correlation (1 − ηh)^lag of each mode."""
    eta, modes = 0.3, np.array([0.2, 1.0, 2.0])
    w, path = rng(11).normal(size=(20_000, 3)), []
    for step in range(60):
        w = w - eta * (modes * w + rng(100 + step).normal(size=w.shape))
        path.append(w)
    for lag in (1, 5):
        for i, h in enumerate(modes):
            found = 1 - unit_drift(path[-1][:, i : i + 1], path[-1 - lag][:, i : i + 1])
            assert found == pytest.approx((1 - eta * h) ** lag, abs=0.03)


# units


def test_cosine_of_planted_units():
    w = rng(12).normal(size=(50, 40))
    noise = rng(13).normal(size=w.shape)
    noise -= (noise * w).sum(1, keepdims=True) / (w * w).sum(1, keepdims=True) * w
    noise *= np.linalg.norm(w, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    for s in (0.0, 0.5, 3.0):
        assert unit_cosine(w, w + s * noise) == pytest.approx(1 / sqrt(1 + s * s), abs=1e-12)
    assert (unit_cosine(w, w) == 1.0).all()
    order = rng().permutation(50)
    a, b = unit_cosine(w, noise + w), unit_cosine(w[order], (noise + w)[order])
    assert (a[order] == b).all()
    assert unit_cosine(1e-200 * w, w) == pytest.approx(1.0, abs=1e-12)


def test_unrelated_units_have_cosine_zero_and_the_share_is_that_of_long_parts():
    w, other = rng(14).normal(size=(4000, 25)), rng(15).normal(size=(4000, 25))
    found = unit_cosine(w, other)
    assert found.mean() == pytest.approx(0, abs=4 * 0.2 / sqrt(4000))
    assert found.std() == pytest.approx(0.2, rel=0.05)
    mixed = other + 2.0 * rng(16).uniform(size=(4000, 1)) * w
    beta = (mixed * w).sum(1) / (w * w).sum(1)
    along = np.linalg.norm(beta[:, None] * w, axis=1)
    rest = np.linalg.norm(mixed - beta[:, None] * w, axis=1)
    assert purified_share(unit_cosine(mixed, w)) == np.mean(along > rest)
    assert np.isnan(purified_share(unit_cosine(np.zeros((2, 3)), np.ones((2, 3)))))


# feature gap


def test_gap_of_equal_and_of_shifted_gaussians():
    draws = [
        feature_gap(rng(i).normal(size=(50, 10)), rng(1000 + i).normal(size=(60, 10)) + shift)
        for shift in (0.0, 0.5)
        for i in range(300)
    ]
    for part, expected in ((draws[:300], 0.0), (draws[300:], 2.5)):
        values = np.array([d.mmd2 for d in part])
        assert values.mean() == pytest.approx(expected, abs=3 * values.std() / sqrt(300))
    assert np.mean([d.within for d in draws]) == pytest.approx(10, rel=0.01)


def test_gap_is_the_difference_of_mean_kernels():
    x, y = rng().normal(size=(8, 3)), rng(1).normal(size=(6, 3))
    inner = [(a @ a.T).sum() - (a * a).sum() for a in (x, y)]
    expected = inner[0] / 56 + inner[1] / 30 - 2 * (x @ y.T).mean()
    assert feature_gap(x, y).mmd2 == pytest.approx(expected, abs=1e-12)
    apart = [((a[:, None] - a) ** 2).sum() / (len(a) * (len(a) - 1)) for a in (x, y)]
    assert feature_gap(x, y).within == pytest.approx(np.mean(apart) / 2)


def test_a_gap_without_a_value_says_why():
    assert feature_gap(np.ones((1, 2)), np.ones((3, 2))).reason == TOO_FEW_SAMPLES
    assert feature_gap(np.ones((3, 2)), np.ones((3, 2))).reason == CONSTANT


# signs


@pytest.mark.parametrize("product", [0.01, 0.03, 0.1])
def test_subgradient_descent_jumps_to_and_fro(product):
    """On λ|w| it ends in the cycle {r, r − ηλ}, r uniform in (0, ηλ)."""
    w, path = rng(17).normal(size=10_000), []
    for _ in range(int(6 / product)):
        w = w - product * np.sign(w)
        path.append(w)
    assert sign_flips(path[-2], path[-1]) == period_two(*path[-3:]) == 1.0
    assert exact_zeros(w) == 0.0
    assert np.abs(path[-2:]).mean() == pytest.approx(product / 2, rel=0.02)


def test_a_larger_penalty_leaves_a_larger_norm():
    found = []
    for penalty in (0.3, 0.6, 1.2, 2.4):
        w, eta, kept = rng(18).normal(size=20_000), 0.1, []
        for step in range(2000):
            w = w - eta * ((w - 0.2) + penalty * np.sign(w))
            kept += [np.abs(w).mean()] if step >= 1900 else []
        found.append(np.mean(kept))
    assert found == pytest.approx([0.0215, 0.0317, 0.0648, 0.1262], abs=1e-3)
    assert found == sorted(found)


@pytest.mark.parametrize(("step_size", "expected"), [(1.5, 1.0), (0.7, 0.0)])
def test_descent_on_a_quadratic_flips_only_beyond_one(step_size, expected):
    path = [np.ones(5)]
    for _ in range(4):
        path.append(path[-1] * (1 - step_size))
    assert sign_flips(path[-2], path[-1]) == expected
    assert sign_flips(path[-1], path[-1]) == 0.0
    assert np.isnan(sign_flips(np.array([np.nan]), np.array([1.0])))
