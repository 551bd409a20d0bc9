"""The phase diagram: scales, slopes and condensation of directions."""

from __future__ import annotations

from math import isnan, pi

import numpy as np
import pytest
import torch

from wingbeat.curvature import (
    TwoLayer,
    condensation,
    regime,
    relative_change,
    scales,
    slope_against_width,
)
from wingbeat.errors import TOO_FEW_POINTS, RequestError


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.75])
@pytest.mark.parametrize("gamma_prime", [-0.5, 0.0, 1.0])
def test_scales_are_where_they_should_be(gamma: float, gamma_prime: float) -> None:
    at = scales(100, gamma, gamma_prime)
    assert -np.log(at.outer * at.inner / at.alpha) / np.log(100) == pytest.approx(gamma)
    assert -np.log(at.outer / at.inner) / np.log(100) == pytest.approx(gamma_prime)


@pytest.mark.parametrize(
    ("gamma", "gamma_prime", "expected"),
    [
        (0.5, 0.0, "linear"),
        (1.0, 0.0, "critical"),
        (1.5, 0.5, "critical"),
        (1.75, 0.0, "condensed"),
        (1.5, 1.0, "linear"),
        (1.5, -0.5, "condensed"),
    ],
)
def test_regimes(gamma: float, gamma_prime: float, expected: str) -> None:
    assert regime(gamma, gamma_prime) == expected


def test_the_net_is_the_formula() -> None:
    torch.manual_seed(0)
    net = TwoLayer(5, 2, scales(5, 1.0, 0.0))
    x = torch.randn(3, 2)
    expected = [
        sum(
            float(net.a[k])
            * max(0.0, float(net.w[k, 0] * row[0] + net.w[k, 1] * row[1] + net.w[k, 2]))
            for k in range(5)
        )
        for row in x
    ]
    assert np.allclose(net(x).detach()[:, 0].numpy(), expected, atol=1e-6)


def test_slopes_of_power_laws_and_their_intervals() -> None:
    widths = (64, 128, 256, 512)
    exact = slope_against_width(widths, [3 * m**-0.5 for m in widths])
    assert exact.value == pytest.approx(-0.5)
    assert exact.low == pytest.approx(exact.high)
    noisy = slope_against_width(
        widths, [m**0.4 * f for m, f in zip(widths, (1, 1.1, 0.9, 1.05), strict=True)]
    )
    assert noisy.low < 0.4 < noisy.high
    assert slope_against_width((64, 64), (1.0, 2.0)).reason == TOO_FEW_POINTS
    assert slope_against_width((64, 128), (0.0, 2.0)).reason == TOO_FEW_POINTS
    assert slope_against_width((64, 128), (1.0, 2.0)).value == pytest.approx(1.0)
    assert slope_against_width((), ()).reason == TOO_FEW_POINTS


def test_directions_of_one_line_and_of_all() -> None:
    a = torch.ones(200)
    line = torch.tensor([[1.0, 2.0]]).expand(200, 2)
    one = condensation(line, a)
    assert one.directions == pytest.approx(1.0)
    assert one.alignment == pytest.approx(1.0)
    both = condensation(torch.cat([line[:100], -line[:100]]), a)
    assert both.directions == pytest.approx(2.0)
    assert both.alignment == pytest.approx(1.0)
    spread = torch.linspace(-pi, pi, 201)[:-1].double()
    circle = condensation(torch.stack([spread.cos(), spread.sin()], dim=1), a)
    assert circle.directions > 20
    assert circle.alignment == pytest.approx(2 / pi, abs=0.01)


def test_angles_have_the_sign_of_the_bias() -> None:
    w = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]])
    found = condensation(w, torch.ones(4))
    assert np.allclose(found.angles.numpy(), [0, pi / 2, -pi / 2, pi])
    assert bool(condensation(torch.ones(2, 3), torch.ones(2)).angles.isnan().all())


def test_neurons_are_counted_by_what_they_contribute() -> None:
    w = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert condensation(w, torch.tensor([1.0, 0.0])).directions == pytest.approx(1.0)
    assert isnan(condensation(w, torch.zeros(2)).directions)


def test_relative_change_and_bad_width() -> None:
    assert relative_change(torch.ones(4), torch.ones(4)) == 0.0
    assert isnan(relative_change(torch.zeros(4), torch.ones(4)))
    with pytest.raises(RequestError):
        scales(0, 1.0, 0.0)
