"""Layers whose first axis is time: samples are found by two sizes of batch, never positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.representation import compare_layers


class Recurrent(nn.Module):
    """A recurrent layer as torch has it by default: (time, sample, feature)."""

    def __init__(self, seed: int = 0, *, first: bool = True) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = first
        self.rnn, self.head = nn.GRU(3, 5, batch_first=not first), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Take (sample, time, feature)."""
        if not self.first:
            return self.head(self.rnn(x)[0][:, -1])
        return self.head(self.rnn(x.transpose(0, 1))[0][-1])


TIMES = 16
X = torch.randn(TIMES, TIMES, 3, generator=torch.Generator().manual_seed(0))
"""As many samples as times: the sizes alone do not tell the axes apart."""


def task(model=Recurrent) -> wb.Task:
    return wb.Task(
        model=model,
        loss=lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]),
        data=(X, (X[:, 0, 0] > 0).long()),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.5),
        batch_size=8,
        steps=4,
    )


def test_time_first_and_batch_first_are_the_same_representation():
    """Was: positions as samples, another number."""
    a, b = Recurrent(1), Recurrent(2)
    c, d = Recurrent(1, first=False), Recurrent(2, first=False)
    for one, other in ((a, c), (b, d)):
        other.load_state_dict(one.state_dict())
    found, want = compare_layers(task(), a, b), compare_layers(task(), c, d)
    assert found.first == want.first == ("rnn", "head")
    np.testing.assert_allclose(found.cka, want.cka, rtol=1e-5)
    assert found.samples == TIMES


def test_the_number_is_that_of_the_samples_by_hand():
    a, b = Recurrent(1), Recurrent(2)
    with torch.no_grad():
        outs = [m.rnn(X.transpose(0, 1))[0].transpose(0, 1).flatten(1).double() for m in (a, b)]
    x, y = (out - out.mean(0) for out in outs)
    want = float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))
    found = compare_layers(task(), a, b, layers=["rnn"], estimator="biased")
    np.testing.assert_allclose(found.cka, [[want]], rtol=1e-6)


@pytest.mark.slow
def test_a_run_has_them_too():
    tables = []
    for first in (True, False):
        made = task(lambda first=first: Recurrent(0, first=first))
        found = wb.run(made, wb.Gaussian(0.1), replicas=2, metrics=["cka"]).table
        tables.append(found[(found.metric == "cka") & (found.layer == "rnn")])
    assert len(tables[0]) > 0
    assert np.isfinite(tables[0].value).any()
    # The two forms compute the same and round differently.
    np.testing.assert_allclose(tables[0].value, tables[1].value, rtol=1e-3, atol=1e-5)


def test_a_layer_that_holds_no_samples_is_left_out_or_named():
    class Table(nn.Module):
        """A table of positions beside the samples, as long as the batch."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(TIMES, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head((x + self.embed(torch.arange(TIMES))).mean(1))

    model = Table()
    assert compare_layers(task(Table), model, model).first == ("head",)
    with pytest.raises(RequestError, match="no tensor with an axis of samples"):
        compare_layers(task(Table), model, model, layers=["embed"])
