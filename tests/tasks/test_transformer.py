"""Transformers: attention against loops, masks by intervention, exact sizes, lock step."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from reference.attention import attention
from torch.func import functional_call, grad, vmap

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.tasks.dense import cross_entropy
from wingbeat.tasks.models.transformer import Attention, Block, Transformer

WORDS = torch.tensor([[5, 3, 9, 0, 0, 0], [2, 2, 7, 8, 4, 1]])


def small(kind: str, length: int = 6) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(kind, 16, 2, vocabulary=12, length=length).double()
    with torch.no_grad():
        for p in model.parameters():  # larger than at the start, so that masks matter
            p.add_(0.3 * torch.randn_like(p))
    return model


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_equals_the_slow_reference(heads: int) -> None:
    torch.manual_seed(1)
    module = Attention(8, heads).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    visible = torch.rand(2, 5, 5) < 0.6
    visible |= torch.eye(5, dtype=torch.bool)
    found = module(x, visible).detach().numpy()
    qkv, out = (
        (m.weight.detach().numpy(), m.bias.detach().numpy()) for m in (module.qkv, module.out)
    )
    for b in range(2):
        expected = attention(x[b].numpy(), visible[b].numpy(), qkv, out, heads)
        np.testing.assert_allclose(found[b], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "width", "layers", "expected"),
    [
        ("gpt", 128, 2, 780_034),
        ("gpt", 256, 4, 3_926_018),
        ("gpt", 384, 6, 11_797_250),
        ("bert", 128, 2, 796_802),
        ("bert", 256, 4, 3_992_322),
        ("bert", 384, 6, 11_945_858),
    ],
)
def test_exact_sizes(kind: str, width: int, layers: int, expected: int) -> None:
    d = width
    block = 4 * d * d + 4 * d + 8 * d * d + 5 * d + 4 * d
    by_hand = 2960 * d + 32 * d + layers * block + 2 * d + 2 * d + 2
    by_hand += 2 * d + d * d + d if kind == "bert" else 0
    with torch.device("meta"):
        found = sum(p.numel() for p in Transformer(kind, width, layers).parameters())
    assert found == by_hand == expected


@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_padding_changes_nothing(kind: str) -> None:
    """A sentence padded to 6 words gives the scores of the same sentence padded to 3."""
    model = small(kind)
    torch.testing.assert_close(model(WORDS[:1]), model(WORDS[:1, :3]), rtol=0, atol=1e-12)


def test_gpt_reads_the_last_word_and_looks_back_only() -> None:
    model = small("gpt")
    seen = model.visible(WORDS)
    assert torch.equal(seen[1], torch.ones(6, 6).tril().bool())
    assert not seen[0, :, 3:].any()
    hidden = {}
    model.norm.register_forward_hook(lambda _m, _i, out: hidden.update(x=out))
    model(WORDS)
    before = hidden["x"][1].clone()
    changed = WORDS.clone()
    changed[1, 4] = 11
    model(changed)
    torch.testing.assert_close(hidden["x"][1][:4], before[:4], rtol=0, atol=0)
    assert (hidden["x"][1][4:] - before[4:]).abs().max() > 1e-3


def test_bert_looks_both_ways() -> None:
    model = small("bert")
    changed = WORDS.clone()
    changed[1, 5] = 11
    assert (model(changed)[1] - model(WORDS)[1]).abs().max() > 1e-3
    torch.testing.assert_close(model(changed)[0], model(WORDS)[0], rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_a_sentence_without_words_has_finite_scores(kind: str) -> None:
    model = small(kind)
    assert torch.isfinite(model(torch.zeros(1, 6, dtype=torch.int64))).all()


@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_stacked_gradients_equal_single_ones(kind: str) -> None:
    model = small(kind)
    params = {k: p.detach() for k, p in model.named_parameters()}
    stack = {k: p + 0.01 * torch.randn(3, *p.shape, dtype=p.dtype) for k, p in params.items()}

    def loss(p: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(
            functional_call(model, p, (WORDS,)), torch.tensor([0, 1])
        )

    together = vmap(grad(loss))(stack)
    for i in range(3):
        alone = grad(loss)({k: p[i] for k, p in stack.items()})
        for name in params:
            torch.testing.assert_close(together[name][i], alone[name], rtol=1e-10, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_lock_step_trains_as_the_loop_does(kind: str) -> None:
    torch.manual_seed(0)
    words, labels = torch.randint(0, 12, (32, 6)), torch.randint(0, 2, (32,))
    task = wb.Task(
        model=partial(Transformer, kind, 16, 2, vocabulary=12, length=6),
        loss=cross_entropy,
        data=(words, labels),
        optimizer=partial(torch.optim.AdamW, lr=1e-3),
        batch_size=8,
        steps=8,
    )
    both = [
        wb.run(task, wb.Gaussian(0.01), replicas=3, driver=d, dtype=torch.float64)
        for d in ("lockstep", "loop")
    ]
    assert [r.noise_floor for r in both] == [0.0, 0.0]
    for name, stacked in both[0].trajectory.at(8).params.items():
        single = both[1].trajectory.at(8).params[name]
        torch.testing.assert_close(stacked, single, rtol=1e-8, atol=1e-9)


def test_wrong_requests_name_the_value() -> None:
    with pytest.raises(RequestError, match="'bart'"):
        Transformer("bart", 16, 2)
    with pytest.raises(RequestError, match="100"):
        Transformer("gpt", 100, 2)
    with pytest.raises(RequestError, match="layers is 0"):
        Transformer("gpt", 64, 0)


def test_a_block_keeps_its_shape() -> None:
    assert Block(8, 2)(torch.zeros(2, 3, 8), torch.ones(2, 3, 3).bool()).shape == (2, 3, 8)
