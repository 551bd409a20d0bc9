from __future__ import annotations

import pytest
import torch
from symmetry_models import CASES, noisy_state, seeded
from symmetry_nets import mlp
from torch import nn

from wingbeat.errors import RequestError
from wingbeat.symmetry import channel_statistics, repair


def data(shape, count):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def middle(a, b, alpha=0.5):
    return {
        name: a[name].lerp(b[name], alpha) if a[name].is_floating_point() else a[name] for name in a
    }


def test_channels_get_the_statistics_in_between():
    model = mlp(6, 16, 16, 16, 4).double()
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)
    batches, layers = [x.double() for x in data((32, 6), 4)], ["0", "2", "4"]
    merged = middle(a, b, 0.25)
    fixed = repair(model, merged, a, b, batches, alpha=0.25)
    first, second, found = (channel_statistics(model, s, batches, layers) for s in (a, b, fixed))
    for name in layers:
        goal = 0.75 * first[name].std + 0.25 * second[name].std
        torch.testing.assert_close(found[name].std, goal, rtol=1e-9, atol=0)
        mean = 0.75 * first[name].mean + 0.25 * second[name].mean
        torch.testing.assert_close(found[name].mean, mean, rtol=0, atol=1e-9)
    assert torch.equal(fixed["6.weight"], merged["6.weight"])


def test_averaging_loses_variance_as_published():
    """Units with correlation ρ keep (1 + ρ)/2 of their variance at the middle (REPAIR, sec. 3)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(400, 300, bias=False), nn.ReLU(), nn.Linear(300, 2)).double()
    a = {name: t.double() for name, t in noisy_state(model, 1, 1.0).items()}
    b = dict(a)
    fresh = noisy_state(model, 2, 1.0)["0.weight"].double()
    rho = 0.4
    b["0.weight"] = rho * a["0.weight"] + (1 - rho**2) ** 0.5 * fresh
    batches = [x.double() for x in data((500, 400), 4)]
    stds = [channel_statistics(model, s, batches, ["0"])["0"].std for s in (a, middle(a, b))]
    ratio = float((stds[1] ** 2).mean() / (stds[0] ** 2).mean())
    assert ratio == pytest.approx((1 + rho) / 2, abs=0.02)


def test_endpoints_are_left_alone_and_batch_order_does_not_matter():
    model = mlp(6, 8, 8, 4).double()
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)
    batches = [x.double() for x in data((16, 6), 3)]
    same = repair(model, a, a, b, batches, alpha=0.0)
    for name in a:
        torch.testing.assert_close(same[name], a[name], rtol=1e-9, atol=1e-9)
    merged = middle(a, b)
    one, two = (repair(model, merged, a, b, x) for x in (batches, batches[::-1]))
    for name in a:
        torch.testing.assert_close(one[name], two[name], rtol=1e-9, atol=1e-12)
    again = repair(model, one, a, b, batches)
    for name in a:
        torch.testing.assert_close(again[name], one[name], rtol=1e-8, atol=1e-8)


def test_batch_norm_sees_its_own_inputs():
    model, case = seeded("vgg11").double(), CASES["vgg11"]
    batches = [x.double() for x in data(case.inputs().shape, 3)]
    a, b = noisy_state(model, 1), noisy_state(model, 2)
    fixed = repair(model, middle(a, b), a, b, batches)
    norms = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    found = channel_statistics(model, fixed, batches, norms, inputs=True)
    for name in norms:
        torch.testing.assert_close(
            found[name].std ** 2, fixed[f"{name}.running_var"], rtol=1e-9, atol=1e-12
        )
        torch.testing.assert_close(
            found[name].mean, fixed[f"{name}.running_mean"], rtol=1e-9, atol=1e-9
        )


def test_transposed_and_grouped_convolutions():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, groups=1), nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 2, 1),
    ).double()  # fmt: skip
    a, b = noisy_state(model, 1, 0.5), noisy_state(model, 2, 0.5)
    batches = [x.double() for x in data((4, 3, 6, 6), 2)]
    fixed = repair(model, middle(a, b), a, b, batches)
    first, second, found = (
        channel_statistics(model, s, batches, ["0", "2"]) for s in (a, b, fixed)
    )
    for name in ("0", "2"):
        goal = (first[name].std + second[name].std) / 2
        torch.testing.assert_close(found[name].std, goal, rtol=1e-9, atol=0)


def test_no_data_and_a_place_off_the_line_are_refused():
    model = mlp(3, 4, 2)
    state = model.state_dict()
    with pytest.raises(RequestError, match="0 batches"):
        repair(model, state, state, state, [])
    with pytest.raises(RequestError, match=r"alpha=1\.5"):
        repair(model, state, state, state, [torch.ones(1, 3)], alpha=1.5)
