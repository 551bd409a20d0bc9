"""Activations by hooks, and how their axes become features."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, vmap

from wingbeat.errors import RequestError
from wingbeat.representation.capture import Recorder, as_features, check_layers, default_layers


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Shared(nn.Module):
    """One activation module that runs twice, an output that is no tensor, a module unused."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 4)
        self.act = nn.ReLU(inplace=True)
        self.pair = Pair()
        self.spare = nn.Linear(4, 4)

    def forward(self, x):
        return self.act(self.second(self.pair(self.act(self.first(x)))["b"]))


class Pair(nn.Module):
    def forward(self, x):
        return {"a": torch.zeros(2, dtype=torch.long), "b": x + 1}


def forward(model, batch):
    return model(batch)


@settings(max_examples=40, deadline=None)
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_flattened_features_hold_every_number(shape):
    x = numbers(*shape)
    found = as_features(x)
    assert found.shape == (shape[0], x[0].numel())
    assert torch.equal(found.flatten(), x.flatten())
    for positions in ("mean", "last"):
        assert len(as_features(x, positions)) == shape[0]


def test_positions_and_places():
    tokens, image, video = numbers(5, 7, 3), numbers(5, 3, 2, 4), numbers(5, 3, 2, 4, 6)
    torch.testing.assert_close(as_features(tokens, "mean"), tokens.mean(1))
    assert torch.equal(as_features(tokens, "last"), tokens[:, -1])
    torch.testing.assert_close(as_features(image, "mean"), image.mean((2, 3)))
    assert torch.equal(as_features(image, "last"), image.reshape(5, -1))
    torch.testing.assert_close(as_features(video, "mean"), video.mean((2, 3, 4)))
    for positions in ("flatten", "mean", "last"):
        assert as_features(numbers(5), positions).shape == (5, 1)
        assert torch.equal(as_features(tokens[0], positions), tokens[0])


def test_wrong_positions_are_refused():
    with pytest.raises(RequestError, match=r"'first'.*'last'"):
        as_features(numbers(2, 2), "first")
    with pytest.raises(RequestError, match="single number"):
        as_features(torch.tensor(1.0))


def test_default_layers_are_those_that_do_something():
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(2, 2), nn.Sequential(nn.Tanh(), nn.Dropout()), nn.Identity()
    )
    assert default_layers(net) == ("1", "2.0")


def test_all_calls_of_all_layers_are_recorded():
    net, x = Shared().eval(), numbers(6, 3)
    found = Recorder(forward)(net, x)
    first = torch.relu(net.first(x))
    assert set(found) == {"first", "act", "pair", "second", "act#2"}
    torch.testing.assert_close(found["first"], net.first(x))  # not what the next made of it
    torch.testing.assert_close(found["act"], first)
    torch.testing.assert_close(found["pair"], first + 1)
    torch.testing.assert_close(found["act#2"], torch.relu(net.second(first + 1)))
    assert not net.act._forward_hooks


def test_named_layers_come_in_the_order_asked():
    net, x = Shared().eval(), numbers(6, 3)
    found = Recorder(forward, check_layers(net, ["act#2", "first"]))(net, x)
    assert list(found) == ["act#2", "first"]


def test_hooks_are_taken_away_when_the_model_fails():
    net = Shared().eval()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        Recorder(forward)(net, numbers(6, 5))
    assert not any(m._forward_hooks for m in net.modules())


def test_they_see_the_tensors_of_functional_call_also_in_stacks():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).eval(), numbers(6, 3)
    stack = {k: numbers(2, *p.shape, seed=3) for k, p in net.named_parameters()}
    recorder = Recorder(forward)

    class Shell(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = net

        def forward(self, x):
            return recorder(self.model, x)

    def run(own):
        return functional_call(Shell(), {f"model.{k}": t for k, t in own.items()}, (x,))

    stacked = vmap(run)(stack)
    for i in range(2):
        own = {k: t[i] for k, t in stack.items()}
        hidden = x @ own["0.weight"].T + own["0.bias"]
        torch.testing.assert_close(run(own)["0"], hidden)
        torch.testing.assert_close(stacked["1"][i], torch.tanh(hidden))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["secnd"], "no layer 'secnd': did you mean 'second'"),
        (["zzzzz"], "known: act, first, pair"),
        (["act#x"], "no layer 'act#x'"),
        (["act", "act"], "twice"),
        ([], "list of names"),
        ("act", "list of names"),
    ],
)
def test_wrong_layers_are_refused(layers, message):
    with pytest.raises(RequestError, match=message):
        check_layers(Shared(), layers)


@pytest.mark.parametrize(
    ("name", "message"), [("spare", "did not run"), ("act#3", "'act#3' did not run")]
)
def test_a_layer_that_does_not_run_is_refused(name, message):
    net = Shared()
    with pytest.raises(RequestError, match=message):
        Recorder(forward, check_layers(net, [name]))(net, numbers(6, 3))


def test_a_layer_without_one_activation_a_sample_is_refused():
    class Summed(nn.Module):
        def forward(self, x):
            return x.sum(0, keepdim=True)

    net = nn.Sequential(nn.Linear(3, 4), Summed())
    assert list(Recorder(forward)(net, numbers(6, 3))) == ["0"]
    with pytest.raises(RequestError, match="gives 1 rows"):
        Recorder(forward, ("1",))(net, numbers(6, 3))
    with pytest.raises(RequestError, match="name the layers"):
        Recorder(forward)(nn.Sequential(Summed()), numbers(6, 3))
