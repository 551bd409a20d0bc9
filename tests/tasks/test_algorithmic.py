"""Sums modulo a number and parities: the labels are what the rule says, and the nets fit."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.tasks.algorithmic import (
    SumTransformer,
    divided,
    hinge,
    modular_addition_task,
    parity_task,
)
from wingbeat.tasks.dense import digits_mlp_task, mlp


def test_every_pair_is_there_once_with_its_sum():
    task = modular_addition_task(7, epochs=3)
    pairs = torch.cat([task.data[0], task.eval_data[0]])
    sums = torch.cat([task.data[1], task.eval_data[1]])
    assert sorted(map(tuple, pairs[:, :2].tolist())) == [(a, b) for a in range(7) for b in range(7)]
    assert (pairs[:, 2] == 7).all()
    assert (sums == (pairs[:, 0] + pairs[:, 1]) % 7).all()
    assert (len(task.data[0]), task.steps) == (34, 3)
    again = modular_addition_task(7, epochs=3, seed=5)
    assert (again.data[0] == task.data[0]).all()
    assert (modular_addition_task(7, data_seed=1).data[0] != task.data[0]).any()


def test_parity_is_that_of_the_relevant_bits_alone():
    task = parity_task(6, 2, epochs=2, n=200)
    x, y = task.data
    assert set(x.unique().tolist()) == {-1.0, 1.0}
    assert (y == (x[:, 0] == x[:, 1]).long()).all()
    assert not torch.equal(x, task.eval_data[0])
    assert 0.35 < y.float().mean() < 0.65


def test_the_transformer_is_attention_written_out():
    torch.manual_seed(0)
    net = SumTransformer(5, 8, 2).double()
    words = torch.tensor([[1, 2, 5], [4, 4, 5]])
    x = net.words(words) + net.places
    q, k, v = net.attention.qkv(x).chunk(3, dim=-1)
    mixed = torch.cat(
        [
            F.scaled_dot_product_attention(q[..., h], k[..., h], v[..., h])
            for h in (slice(0, 4), slice(4, 8))
        ],
        dim=-1,
    )
    x = x + net.attention.out(mixed)
    x = x + net.dense[2](F.relu(net.dense[0](x)))
    assert torch.allclose(net(words), x[:, -1] @ net.head.weight.T, atol=1e-12)
    assert torch.allclose(net(words), net(words[:, [1, 0, 2]]), atol=1e-12) is False
    names = [n for n, _ in SumTransformer(5, 8, 2, layer_norm=True).named_parameters()]
    assert sum("norms" in n for n in names) == 6
    assert not any("norms" in n for n, _ in net.named_parameters())


def test_layer_norm_stands_before_the_activation():
    kinds = [type(m).__name__ for m in mlp((4, 3, 2), layer_norm=True)]
    assert kinds == ["Flatten", "Linear", "LayerNorm", "ReLU", "Linear"]
    net = digits_mlp_task((5,), epochs=1, batch_norm=False, layer_norm=True).model()
    assert sum(isinstance(m, torch.nn.LayerNorm) for m in net) == 1


def test_the_hinge_loss_is_zero_from_a_margin_of_one_on():
    scores = torch.tensor([[0.0, 4.0], [0.0, 2.0], [0.0, 0.0], [3.0, 0.0]])
    batch = scores, torch.tensor([1, 1, 1, 1])
    assert float(hinge(torch.nn.Identity(), batch)) == pytest.approx((0 + 0 + 1 + 2.5) / 4)


def test_a_loop_by_hand_trains_the_same_and_copies_too():
    task = modular_addition_task(5, epochs=4, width=8, layer_norm=True)
    result = wb.run(
        task, wb.Gaussian(0.1), replicas=1, record_every=2, dtype=torch.float64, metrics="l2"
    )
    torch.manual_seed(task.seed)
    net = task.model().double()
    optimizer = task.optimizer(net.parameters())
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(net(task.data[0]), task.data[1]).backward()
        optimizer.step()
    own = result.trajectory.at(4).params
    for name, tensor in net.named_parameters():
        assert torch.allclose(own[name][0], tensor, atol=1e-9)
    assert result.noise_floor == 0.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: modular_addition_task(1), "modulus"),
        (lambda: modular_addition_task(5, share=1.0), "share"),
        (lambda: parity_task(4, 5), "relevant"),
        (lambda: parity_task(4, 2, n=0), "n is 0|n"),
        (lambda: divided((torch.arange(3), torch.arange(3)), 0.1, 0), "would be empty"),
    ],
)
def test_values_out_of_range_are_refused(make, words):
    with pytest.raises(RequestError, match=words):
        make()
