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


class Conv1D(nn.Module):
    """GPT-2's linear layer, as transformers defines it: weight (in, out)."""

    def __init__(self, out, size):
        super().__init__()
        self.nf = out
        self.weight = nn.Parameter(torch.randn(size, out) / size**0.5)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x):
        return x @ self.weight + self.bias


def headless():
    return nn.Sequential(
        nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4, bias=False)
    )


def gpt2():
    return nn.Sequential(Conv1D(16, 6), nn.GELU(), Conv1D(12, 16), nn.GELU(), nn.Linear(12, 4))


def normed(norm):
    return nn.Sequential(
        norm(nn.Linear(6, 16)), nn.ReLU(), norm(nn.Linear(16, 12)), nn.ReLU(), nn.Linear(12, 4)
    )


def normed_convolutions():
    norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(
        norm(nn.Conv1d(6, 8, 1)), nn.ReLU(), norm(nn.Conv1d(8, 8, 1, groups=2)), nn.ReLU(),
        nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


# Model → its layers that collapse where two models are averaged, and the shape of a batch.
COLLAPSING = {
    "a head without bias": (headless, ["0", "2"], (32, 6)),
    "GPT-2's Conv1D": (gpt2, ["0", "2"], (32, 6)),
    "Conv1D over positions": (gpt2, ["0", "2"], (8, 5, 6)),
    "weight norm": (lambda: normed(nn.utils.parametrizations.weight_norm), ["0", "2"], (32, 6)),
    "weight norm as a hook": (lambda: normed(nn.utils.weight_norm), ["0", "2"], (32, 6)),
    "weight norm of convolutions": (normed_convolutions, ["0", "2"], (16, 6, 1)),
}


@pytest.mark.parametrize("name", COLLAPSING)
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_no_hidden_layer_stays_collapsed(name):
    """The last hidden layer too: before, it kept the variance that averaging lost."""
    make, layers, shape = COLLAPSING[name]
    torch.manual_seed(0)
    model = make().double()
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)
    batches = [x.double() for x in data(shape, 3)]
    merged = middle(a, b)
    fixed = repair(model, merged, a, b, batches)
    stats = [channel_statistics(model, s, batches, layers) for s in (a, b, merged, fixed)]
    for layer in layers:
        first, second, before, after = (found[layer] for found in stats)
        goal = (first.std + second.std) / 2
        assert float((before.std / goal - 1).abs().max()) > 0.05
        torch.testing.assert_close(after.std, goal, rtol=1e-8, atol=0)
        torch.testing.assert_close(after.mean, (first.mean + second.mean) / 2, rtol=0, atol=1e-8)


def test_transformers_own_layer_is_known():
    Theirs = pytest.importorskip("transformers.pytorch_utils").Conv1D
    torch.manual_seed(0)
    model = nn.Sequential(Theirs(16, 6), nn.GELU(), nn.Linear(16, 4)).double()
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)
    batches = [x.double() for x in data((32, 6), 2)]
    fixed = repair(model, middle(a, b), a, b, batches)
    first, second, after = (
        channel_statistics(model, s, batches, ["0"])["0"].std for s in (a, b, fixed)
    )
    torch.testing.assert_close(after, (first + second) / 2, rtol=1e-9, atol=0)


def test_a_weight_that_is_made_in_another_way_is_refused_by_name():
    norm = nn.utils.parametrizations.spectral_norm
    model = nn.Sequential(norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 2))
    state = model.state_dict()
    with pytest.raises(RequestError, match=r"'0' is made of 0\.parametrizations.*remove_param"):
        repair(model, state, state, state, [torch.ones(4, 6)])
