"""One model's layers as clouds: against features made by hand, and nine discs that are known."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

import wingbeat as wb
from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES, RequestError
from wingbeat.metrics.persistence import persistence, total_persistence
from wingbeat.metrics.topology import distances, scaled_tree_length, tree_length
from wingbeat.representation import betti_of, topology_of
from wingbeat.tasks.data.discs import nine_discs

needs_gudhi = pytest.mark.skipif(
    find_spec("gudhi") is None, reason="needs gudhi: pip install 'wingbeat[topology]'"
)
X = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(90) % 3


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def task(data=(X, Y), model=net, **changes):
    given = {
        "loss": lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]),
        "optimizer": lambda p: torch.optim.SGD(p, lr=0.1),
        "batch_size": 30,
        "steps": 1,
        "eval_batch_size": 32,
    }
    return wb.Task(model=model, data=data, **{**given, **changes})


@needs_gudhi
def test_rows_are_those_of_features_made_by_hand():
    model = net()
    found = topology_of(task(), model, samples=45).set_index("layer")
    assert model.training
    assert found.index.tolist() == ["(input)", "0", "1", "2", "3"]
    x = X[::2]
    with torch.no_grad():
        made = {"(input)": x, **{str(i): model.eval()[: i + 1](x) for i in range(4)}}
    for name, points in made.items():
        row, own = found.loc[name], points.double().numpy()
        diagram = persistence(distances(own))
        assert row["h0_total"] == pytest.approx(tree_length(own), rel=1e-5)
        assert row["h0_scaled"] == pytest.approx(scaled_tree_length(own), rel=1e-5)
        assert row["h1_total"] == pytest.approx(total_persistence(diagram), rel=1e-4, abs=1e-6)
        assert (row["samples"], row["covering_radius"], row["reason"]) == (45, 0.0, "")
    some = topology_of(task(eval_data=(X[:20], Y[:20])), model, layers=["2"])
    assert some["layer"].tolist() == ["(input)", "2"]
    assert some["samples"].tolist() == [20, 20]


@needs_gudhi
def test_nine_discs_are_nine_pieces_and_what_is_around_has_nine_holes():
    x, y = nine_discs()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    given = task((x[order], y[order]), lambda: nn.Sequential(nn.Linear(2, 2)), eval_batch_size=4000)
    turn = given.model()
    with torch.no_grad():  # a rotation: nothing changes
        turn[0].weight.copy_(torch.tensor([[0.6, -0.8], [0.8, 0.6]]))
    found = betti_of(given, turn, samples=600)
    assert found["layer"].tolist() == ["(input)", "(input)", "0", "0"]
    assert found["class"].tolist() == [0, 1, 0, 1]
    assert found["pieces"].tolist() == [1, 9, 1, 9]
    assert found["loops"].tolist() == [9, 0, 9, 0]
    assert set(found["samples"]) == {600}


@needs_gudhi
def test_what_has_no_value_says_why_and_wrong_requests_are_refused(monkeypatch):
    dead, broken = net(), net()
    with torch.no_grad():
        dead[1].bias.fill_(-1e9)
        broken[0].weight.fill_(float("nan"))
    reasons = topology_of(task(), dead).set_index("layer")["reason"]
    assert reasons.loc[["0", "2"]].tolist() == ["", CONSTANT]
    lost = topology_of(task(), broken).set_index("layer")
    assert set(lost.loc["0":, "reason"]) == {DIVERGED}
    assert np.isnan(lost.loc["0", "h0_total"])
    few = betti_of(task(), broken, neighbours=40)
    assert few["reason"].tolist() == [TOO_FEW_SAMPLES] * 3 + [DIVERGED] * 12
    for wrong, words in (({"samples": 1}, "at least 2"), ({"layers": ["fc"]}, "no layer 'fc'")):
        with pytest.raises(RequestError, match=words):
            topology_of(task(), dead, **wrong)
    with pytest.raises(RequestError, match="at most 1000"):
        betti_of(task(), dead, samples=1001)
    line = nn.Sequential(nn.Linear(4, 1))
    with pytest.raises(RequestError, match="no_predictions"):
        betti_of(task((X, X), lambda: line, loss=lambda m, b: m(b[0]).mean()), line)
    monkeypatch.setitem(sys.modules, "gudhi.sklearn.rips_persistence", None)
    with pytest.raises(RequestError, match=r"wingbeat\[topology\]"):
        topology_of(task(), dead)
