"""Small maps replayed with NumPy have torch's bits; errors by batch means; dimension."""

from __future__ import annotations

import numpy as np
import pytest
import systems
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from systems import DOUBLE, vector

from wingbeat.errors import RequestError, RunError
from wingbeat.lyapunov import batch_means_error, kaplan_yorke
from wingbeat.lyapunov.maps.numpy_replay import numpy_replay
from wingbeat.lyapunov.maps.orbit import Orbit
from wingbeat.lyapunov.maps.recording import Recorded
from wingbeat.lyapunov.maps.states import read_state
from wingbeat.lyapunov.maps.validate_map import FlatMap

MAPS = {
    "logistic": (systems.logistic, vector(0.3)),
    "henon": (systems.henon, vector(0.1, 0.1)),
    "cat": (systems.cat, vector(0.3, 0.41)),
    "lorenz": (systems.lorenz, vector(1.0, 1.0, 20.0)),
    "henon10": (systems.henon10, vector(*np.linspace(0.1, 0.2, 10))),
    "ring": (systems.coupled_logistic, vector(*np.linspace(0.1, 0.7, 10))),
}


@pytest.mark.parametrize("name", MAPS)
def test_replays_have_the_bits_of_the_map(name: str) -> None:
    step, x = MAPS[name]
    replay = numpy_replay(lambda y: step(y, 0), x)
    assert replay is not None
    array = x.numpy()
    for t in range(50):
        array, x = replay(array), step(x, t)
        assert np.array_equal(array, x.numpy())


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["henon", "henon10", "cat", "matrix", "branch"])
def test_orbits_are_those_of_a_plain_loop(name: str, batch: int) -> None:
    turn = systems.rotation(4)
    extra = {
        "matrix": (lambda s, t: torch.tanh(turn @ s), vector(0.1, 0.2, 0.3, 0.4)),
        "branch": (lambda s, t: torch.where(s > 0.5, s - 0.5, 2 * s), vector(0.3, 0.9)),
    }
    step, x = (MAPS | extra)[name]
    starts = torch.stack([x * (1 - 0.01 * i) for i in range(batch)])
    layout, flat = read_state(starts, batched=True)
    path = Orbit(FlatMap(step, layout), 0)(flat, 21)
    assert path.shape == (22, batch, x.shape[0])
    for i, s in enumerate(starts):
        state = s
        for t in range(22):
            assert_allclose(path[t, i].numpy(), state.numpy(), rtol=1e-9)
            state = step(state, t)


def test_a_replay_that_goes_another_way_is_found() -> None:
    weight = torch.ones(1, dtype=DOUBLE)
    layout, flat = read_state(vector(1.0), batched=False)

    def step(x: torch.Tensor, t: int) -> torch.Tensor:
        return x * (2.0 if float(weight) > 0 else 3.0)

    orbit = Orbit(FlatMap(step, layout), 0)
    orbit(flat, 3)
    weight.neg_()
    with pytest.raises(RunError, match="besides its state"):
        orbit(flat, 8)
    held = {"factor": 2.0}
    recorded = Recorded(lambda x: (x * held["factor"],))
    recorded(flat)
    held["factor"] = 3.0
    with pytest.raises(RunError, match="besides its state"):
        recorded(flat)


def test_what_reads_values_is_called_as_it_is() -> None:
    """A recording would keep the value that it saw first."""
    weight = torch.ones(1, dtype=DOUBLE)
    called = Recorded(lambda x: (x * float(weight),))
    assert called(vector(3.0))[0] == 3.0
    weight.fill_(2.0)
    assert called(vector(3.0))[0] == 6.0


def test_unknown_operations_stay_with_torch() -> None:
    assert numpy_replay(torch.special.bessel_j0, torch.ones(1)) is None
    assert numpy_replay(lambda x: x if x.sum() > 0 else -x, torch.ones(1)) is None


@settings(max_examples=5, deadline=None)
@given(st.floats(-0.9, 0.9), st.integers(0, 5))
def test_batch_means_of_a_correlated_series(phi: float, seed: int) -> None:
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(8_000)
    from scipy.signal import lfilter

    series = lfilter([1.0], [1.0, -phi], noise)
    exact = 1 / (1 - phi) / np.sqrt(noise.size)  # long-run deviation of an AR(1) process
    assert batch_means_error(series) == pytest.approx(exact, rel=0.6)


def test_batch_means_limits() -> None:
    assert np.isnan(batch_means_error([1.0, 2.0]))
    assert batch_means_error(np.ones((100, 2, 3))).shape == (2, 3)
    by_hand = np.arange(12.0).reshape(4, 3).mean(axis=1).std(ddof=1) / 2
    assert batch_means_error(np.arange(12.0), 4) == pytest.approx(by_hand)
    with pytest.raises(RequestError, match="batches is 1"):
        batch_means_error(np.arange(10.0), 1)


def test_kaplan_yorke() -> None:
    assert kaplan_yorke([0.419, -1.623]).value == pytest.approx(1 + 0.419 / 1.623)
    assert kaplan_yorke([-0.1, -2.0]).value == 0.0
    assert kaplan_yorke([0.3, -0.3]).value == 2.0
    assert kaplan_yorke([-1.0, 0.5, 0.0]).value == pytest.approx(2.5)
    assert kaplan_yorke([0.3, 0.1], complete=False).reason == "too_few_exponents"
    assert kaplan_yorke([0.3, np.nan]).reason == "diverged"
    assert kaplan_yorke([0.0, -np.inf]).value == 1.0


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_kaplan_yorke_is_within_its_range(exponents: list[float]) -> None:
    found = kaplan_yorke(exponents)
    assert 0.0 <= found.value <= len(exponents)
    assert found == kaplan_yorke(exponents[::-1])
