"""Architectures over series, sets, graphs and words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.architectures.pieces import (
    Act,
    Net,
    Table,
    linear,
    mlp_head,
    numbers,
    series,
    words,
)

EDGES = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])


def gated() -> nn.Module:
    """Return a gated feed-forward layer, both halves in one matrix."""

    def run(m: Any, x: Tensor) -> Tensor:
        a, b = m.both(x).chunk(2, -1)
        return m.out(F.silu(a) * b)

    return Net(run, both=linear(6, 32), out=linear(16, 4))


def max_with_places() -> nn.Module:
    """Return a network over sets: the largest of each feature over the points."""

    def run(m: Any, x: Tensor) -> Tensor:
        return m.head(m.points(x).max(1)[0])

    points = nn.Sequential(linear(6, 16), Act(), linear(16, 12), Act())
    return Net(run, points=points, head=linear(12, 4))


def recurrent(cell: str, *, slices: bool) -> nn.Module:
    """Return a recurrent network unrolled by hand; states are stacked or written into slices."""

    def step(m: Any, x: Tensor, h: Tensor) -> Tensor:
        if cell == "rnn":
            return torch.tanh(m.i(x) + m.h(h))
        if cell == "gru":
            return m.cell(x, h)
        reset, new = m.gate(torch.cat([x, h], -1)).sigmoid().chunk(2, -1)
        return new * h + (1 - new) * torch.tanh(m.i(x) + reset * m.h(h))

    def run(m: Any, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[0], 12)
        out = x.new_zeros(x.shape[0], x.shape[1], 12)
        states = []
        for t in range(x.shape[1]):
            h = step(m, x[:, t], h)
            states.append(h)
            if slices:
                out[:, t] = h
        return m.head(out if slices else torch.stack(states, 1))

    return Net(
        run,
        i=linear(6, 12),
        h=linear(12, 12),
        gate=linear(18, 24),
        cell=nn.GRUCell(6, 12),
        head=linear(12, 4),
    )


def torch_recurrent(kind: Callable[..., nn.Module], **options: Any) -> nn.Module:
    """Return a recurrent layer of torch and a head."""
    width = 12 * (2 if options.get("bidirectional") else 1)

    def run(m: Any, x: Tensor) -> Tensor:
        return m.head(m.rnn(x)[0])

    return Net(run, rnn=kind(6, 12, batch_first=True, **options), head=linear(width, 4))


def attention(heads: int = 3, *, causal: bool = False, bias: bool = True) -> nn.Module:
    """Return multi-head attention with three projections, by hand."""

    def run(m: Any, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (heads, -1)).transpose(1, 2) for f in (m.q, m.k, m.v))
        scores = q @ k.transpose(-1, -2)
        if causal:
            mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(mask, float("-inf"))
        return m.o((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    return Net(
        run,
        q=linear(6, 12, bias=bias),
        k=linear(6, 12, bias=bias),
        v=linear(6, 12),
        o=linear(12, 4),
    )


def fused_attention() -> nn.Module:
    """Return attention with one matrix for queries, keys and values."""

    def run(m: Any, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).unflatten(-1, (3, 3, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        return m.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    return Net(run, qkv=linear(6, 36), o=linear(12, 4))


def linear_attention() -> nn.Module:
    """Return attention without softmax (kernel elu + 1)."""

    def run(m: Any, x: Tensor) -> Tensor:
        q, k, v = F.elu(m.q(x)) + 1, F.elu(m.k(x)) + 1, m.v(x)
        return m.o(torch.einsum("btk,bsk,bsv->btv", q, k, v))

    return Net(run, q=linear(6, 12), k=linear(6, 12), v=linear(6, 12), o=linear(12, 4))


def mixer() -> nn.Module:
    """Return an MLP-mixer: over places, then over channels."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        x = x + m.tokens(x.transpose(1, 2)).transpose(1, 2)
        return m.head((x + m.channels(x)).mean(1))

    tokens = nn.Sequential(linear(5, 16), nn.GELU(), linear(16, 5))
    channels = nn.Sequential(nn.LayerNorm(12), linear(12, 20), nn.GELU(), linear(20, 12))
    return Net(run, stem=linear(6, 12), tokens=tokens, channels=channels, head=linear(12, 4))


def deep_sets() -> nn.Module:
    """Return a network over sets: the sum over points."""
    points = nn.Sequential(linear(6, 16), Act(), linear(16, 12))
    return Net(lambda m, x: m.head(m.points(x).sum(1)), points=points, head=mlp_head(12))


def graph(how: str) -> nn.Module:
    """Return a graph network: a dense matrix of neighbours, or sums over edges."""

    def gather(x: Tensor) -> Tensor:
        if how == "dense":
            return torch.einsum("nm,bmf->bnf", (torch.eye(5) + torch.eye(5).roll(1, 0)).to(x), x)
        out = torch.zeros_like(x)
        return out.index_add(1, EDGES[1], x[:, EDGES[0]])

    def run(m: Any, x: Tensor) -> Tensor:
        for layer in (m.one, m.two):
            x = (layer(x) + m.ties(gather(layer(x)))).relu()
        return m.head(x.mean(1))

    return Net(run, one=linear(6, 12), two=linear(12, 12), ties=linear(12, 12), head=linear(12, 4))


def graph_attention() -> nn.Module:
    """Return attention over neighbours as in graph attention networks."""

    def run(m: Any, x: Tensor) -> Tensor:
        h = m.w(x)
        scores = F.leaky_relu(m.a(h) + m.b(h).transpose(1, 2), 0.2).softmax(-1)
        return m.head((scores @ h).relu())

    return Net(run, w=linear(6, 12), a=linear(12, 1), b=linear(12, 1), head=linear(12, 4))


def wavenet() -> nn.Module:
    """Return dilated causal convolutions with gates, residuals and skips."""

    def run(m: Any, x: Tensor) -> Tensor:
        x, skips = m.stem(x.transpose(1, 2)), []
        for place, (gate, both) in enumerate(zip(m.gates, m.boths, strict=True)):
            a, b = gate(F.pad(x, (2**place, 0))).chunk(2, 1)
            out, skip = both(a.tanh() * b.sigmoid()).split([12, 10], 1)
            x, skips = x + out, [*skips, skip]
        return m.head(torch.stack(skips).sum(0).relu())

    gates = nn.ModuleList(nn.Conv1d(12, 16, 2, dilation=2**i) for i in range(2))
    boths = nn.ModuleList(nn.Conv1d(8, 22, 1) for _ in range(2))
    return Net(run, stem=nn.Conv1d(6, 12, 1), gates=gates, boths=boths, head=nn.Conv1d(10, 4, 1))


def text_cnn() -> nn.Module:
    """Return convolutions of three widths over embedded words."""

    def run(m: Any, x: Tensor) -> Tensor:
        e = m.embed(x).transpose(1, 2)
        return m.head(torch.cat([c(e).relu().amax(-1) for c in m.convs], 1))

    convs = nn.ModuleList(nn.Conv1d(12, 8, k) for k in (1, 2, 3))
    return Net(run, embed=nn.Embedding(50, 12), convs=convs, head=linear(24, 4))


def sequence_to_sequence() -> nn.Module:
    """Return a recurrent encoder and decoder with attention."""

    def run(m: Any, x: Tensor) -> Tensor:
        keys, last = m.encoder(x)
        out, _ = m.decoder(x, last)
        weights = (m.query(out) @ keys.transpose(1, 2)).softmax(-1)
        return m.head(torch.cat([out, weights @ keys], -1))

    return Net(
        run, encoder=nn.GRU(6, 12, batch_first=True), decoder=nn.GRU(6, 12, batch_first=True),
        query=linear(12, 12), head=linear(24, 4),
    )  # fmt: skip


def recommender() -> nn.Module:
    """Return embeddings, their pairwise products and an MLP."""

    def run(m: Any, x: Tensor) -> Tensor:
        e = m.embed(x)
        pairs = (e.unsqueeze(1) * e.unsqueeze(2)).sum(-1).flatten(1)
        return m.top(torch.cat([pairs, m.bottom(e.flatten(1)).relu()], 1))

    return Net(run, embed=nn.Embedding(50, 8), bottom=linear(40, 12), top=mlp_head(37))


def bags() -> nn.Module:
    """Return sums of embedded words."""
    bag = nn.EmbeddingBag(50, 12, mode="sum")
    return Net(lambda m, x: m.head(m.bag(x).relu()), bag=bag, head=mlp_head(12))


def selective_scan() -> nn.Module:
    """Return a selective state space, step by step."""

    def run(m: Any, x: Tensor) -> Tensor:
        u, gate = m.into(x).chunk(2, -1)
        step = F.softplus(m.step(u))
        b, c = m.b(u), m.c(u)
        state, outs = u.new_zeros(x.shape[0], 10, 4), []
        for t in range(x.shape[1]):
            decay = (-step[:, t, :, None] * m.decay.exp()).exp()
            state = decay * state + (step[:, t] * u[:, t])[..., None] * b[:, t, None]
            outs.append((state * c[:, t, None]).sum(-1))
        return m.out(torch.stack(outs, 1) * F.silu(gate))

    return Net(
        run, into=linear(6, 20), step=linear(10, 10), b=linear(10, 4), c=linear(10, 4),
        decay=numbers(10, 4), out=linear(10, 4),
    )  # fmt: skip


def transformer(kind: str) -> nn.Module:
    """Return the transformers of torch."""
    options: dict[str, Any] = {"dim_feedforward": 20, "dropout": 0.0, "batch_first": True}
    if kind == "encoder":
        one = nn.TransformerEncoderLayer(6, 2, **options)
        return nn.TransformerEncoder(one, 2, enable_nested_tensor=False)
    if kind == "pre-norm":
        one = nn.TransformerEncoderLayer(6, 2, norm_first=True, activation="gelu", **options)
        return nn.TransformerEncoder(one, 2, enable_nested_tensor=False)
    if kind == "decoder":
        decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(6, 2, **options), 2)
        return Net(lambda m, x: m.body(x, x), body=decoder)
    whole = nn.Transformer(6, 2, 1, 1, **options)
    return Net(lambda m, x: m.body(x, x), body=whole)


def multi_head() -> nn.Module:
    """Return torch's attention layer and a head."""
    layer = nn.MultiheadAttention(6, 2, batch_first=True)
    return Net(lambda m, x: m.head(m.layer(x, x, x, need_weights=False)[0]), layer=layer,
               head=mlp_head(6))  # fmt: skip


TABLE: Table = {
    "point sets, max": (max_with_places, series),
    "deep sets": (deep_sets, series),
    "graph, dense": (partial(graph, "dense"), series),
    "graph, index_add": (partial(graph, "edges"), series),
    "graph attention": (graph_attention, series),
    "recurrent by hand": (partial(recurrent, "rnn", slices=False), series),
    "recurrent by hand, into slices": (partial(recurrent, "rnn", slices=True), series),
    "gated recurrent by hand, into slices": (partial(recurrent, "mine", slices=True), series),
    "GRUCell, into slices": (partial(recurrent, "gru", slices=True), series),
    "torch.nn.RNN": (partial(torch_recurrent, nn.RNN), series),
    "torch.nn.GRU": (partial(torch_recurrent, nn.GRU), series),
    "torch.nn.LSTM": (partial(torch_recurrent, nn.LSTM), series),
    "torch.nn.LSTM, two layers": (partial(torch_recurrent, nn.LSTM, num_layers=2), series),
    "torch.nn.GRU, both directions": (
        partial(torch_recurrent, nn.GRU, bidirectional=True), series),
    "sequence to sequence": (sequence_to_sequence, series),
    "attention": (attention, series),
    "attention, causal": (partial(attention, causal=True), series),
    "attention, fused": (fused_attention, series),
    "attention, linear": (linear_attention, series),
    "torch.nn.MultiheadAttention": (multi_head, series),
    "torch.nn.TransformerEncoder": (partial(transformer, "encoder"), series),
    "torch.nn.TransformerEncoder, pre-norm": (partial(transformer, "pre-norm"), series),
    "torch.nn.TransformerDecoder": (partial(transformer, "decoder"), series),
    "torch.nn.Transformer": (partial(transformer, "whole"), series),
    "mixer": (mixer, series),
    "selective state space": (selective_scan, series),
    "WaveNet": (wavenet, series),
    "text CNN": (text_cnn, words),
    "recommender": (recommender, words),
    "embedding bag": (bags, words),
}  # fmt: skip
