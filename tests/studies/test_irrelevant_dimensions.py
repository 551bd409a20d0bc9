"""The study of irrelevant dimensions: directions followed and counted, verdicts on planted nets."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from published import small_run

from wingbeat.errors import RequestError
from wingbeat.lyapunov.training.tangent import TangentStep
from wingbeat.studies.irrelevant_dimensions import DimensionsPlan, measure
from wingbeat.studies.irrelevant_dimensions.claims import claims
from wingbeat.studies.irrelevant_dimensions.found import seeds_of, tables_of
from wingbeat.studies.irrelevant_dimensions.measure import counts, curvature, follow, participation
from wingbeat.studies.irrelevant_dimensions.plan import NETS
from wingbeat.study.analysis import Analysis
from wingbeat.tasks.digit_families import family_net, family_task

SMALL = {
    "shape": (3,),
    "steps": 4,
    "lr": 0.01,
    "batch_size": 32,
    "activation": "tanh",
    "loss": "mse",
}


def by_hand(task, nudge):
    """Train with torch's own Adam; the weights are nudged after the first update."""
    own = TangentStep(task)
    net = family_net("dense", (3,), "tanh").double()
    torch.nn.utils.vector_to_parameters(own.start().params, net.parameters())
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for index in range(task.steps):
        x, y = own.batch(index)
        optimizer.zero_grad()
        (0.5 * ((net(x) - F.one_hot(y, 10)) ** 2).sum(1).mean()).backward()
        optimizer.step()
        if index == 0:
            flat = torch.nn.utils.parameters_to_vector(net.parameters()).detach()
            torch.nn.utils.vector_to_parameters(flat + nudge, net.parameters())
    return torch.nn.utils.parameters_to_vector(net.parameters()).detach(), net


def test_what_becomes_of_a_nudge_is_what_a_plain_loop_makes_of_it(monkeypatch):
    monkeypatch.setattr(measure, "TangentStep", partial(TangentStep, recorded=False))  # equal bits
    task = family_task(**SMALL)
    found = follow(task)
    end, _ = by_hand(task, torch.zeros_like(found.weights))
    assert torch.allclose(end, found.weights, rtol=0, atol=1e-12)
    direction = torch.randn(len(end), generator=torch.Generator().manual_seed(0)).double()
    above, below = (by_hand(task, 1e-6 * sign * direction)[0] for sign in (1, -1))
    difference = (above - below) / 2e-6
    assert torch.allclose(direction @ found.images, difference, rtol=1e-4, atol=1e-6)


def test_the_hessian_is_that_of_double_backward():
    task = family_task(**{**SMALL, "n": 150})
    weights, net = by_hand(task, torch.zeros(235, dtype=torch.float64))
    x, y = (part for part in task.data)
    names = [name for name, _ in net.named_parameters()]
    sizes = [p.numel() for p in net.parameters()]
    shapes = [p.shape for p in net.parameters()]

    def loss(flat):
        parts = [v.reshape(s) for v, s in zip(flat.split(sizes), shapes, strict=True)]
        scores = torch.func.functional_call(
            net, dict(zip(names, parts, strict=True)), (x.double(),)
        )
        return 0.5 * ((scores - F.one_hot(y, 10)) ** 2).sum(1).mean()

    direction = torch.zeros_like(weights)
    direction[200] = 1.0
    _, product = torch.autograd.functional.hvp(loss, weights, direction)
    assert torch.allclose(curvature(task, weights)[200], product, rtol=1e-8, atol=1e-10)


def test_counts_of_directions_that_are_planted():
    """Three grow, two move the loss, one of them both; the rest is irrelevant, in any basis."""
    images, curved = torch.eye(10).double(), torch.zeros(10, 10).double()
    images[[0, 1, 2], [0, 1, 2]] = 5.0
    curved[[2, 3], [2, 3]] = 1e4
    turn = torch.linalg.qr(
        torch.randn(10, 10, generator=torch.Generator().manual_seed(1)).double()
    )[0]
    found = counts(turn @ images @ turn.T, turn @ curved @ turn.T, torch.ones(10).double())
    assert found == {"growing": 3, "moving": 2, "irrelevant": 6, "irrelevant_strict": 6}
    weak = torch.zeros(10, 10).double()
    weak[4, 4] = 0.1 * 2 * 1e-3 / (0.01**2 * 10)  # a tenth of what counts: it does strictly
    near = counts(torch.eye(10).double(), 2.0 * weak, torch.ones(10).double())
    assert (near["irrelevant"], near["irrelevant_strict"]) == (10, 9)
    assert participation(torch.tensor([2.0, 2.0, 0.0])) == 2.0


def planted(seeds=4, *, share=0.9, power=0.5, exact=0.3, cnn=-0.1, growth=0.2):
    sizes = {"dense 4": 310, "dense 8": 610, "dense 16": 1210, "dense 8-8": 682,
             "dense 8-8-8": 754, "cnn 2-4": 266, "cnn 4-4": 358, "transformer 4": 386}  # fmt: skip
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for net, weights in sizes.items():
            family = NETS[net][0]
            free = (1 - share) * 610 * (weights / 610) ** power * np.exp(0.02 * rng.normal())
            left = max(weights - free + (cnn * weights if family == "cnn" else 0), 0.01 * weights)
            rows.append(
                {
                    "net": net, "family": family, "at": 10, "seed": seed, "weights": weights,
                    "exact": exact * left * np.exp(0.01 * rng.normal()), "idle": 0, "growing": 5,
                    "moving": 5, "irrelevant": left, "irrelevant_strict": 0.4 * left,
                    "growth_dimension": weights**growth * np.exp(0.02 * rng.normal()),
                    "loss_dimension": 3.0, "top_growth": 9.0, "test_accuracy": 0.8,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def verdicts(**how):
    found = Analysis(DimensionsPlan(), None, {"seeds": seeds_of(planted(**how))})
    return {c.ident.removesuffix("-10"): c.verdict for c in claims(found)}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (
            {},
            {"most-dense": "holds", "most-strict-dense": "fails", "symmetry-dense": "holds",
             "wider": "holds", "growth_exponent": "holds", "cnn_less_dense": "holds"},
        ),
        ({"share": 0.3, "exact": 0.9}, {"most-dense": "fails", "symmetry-dense": "fails"}),
        ({"power": 1.5, "growth": 0.9, "cnn": 0.05},
         {"wider": "fails", "growth_exponent": "fails", "cnn_less_dense": "fails"}),
        ({"seeds": 2}, {"most-dense": "undetermined", "deeper": "undetermined"}),
    ],
)  # fmt: skip
def test_verdicts_on_planted_nets(how, expected):
    found = verdicts(**how)
    assert {claim: found[claim] for claim in expected} == expected


def test_a_net_that_was_not_asked_for_leaves_its_claims_undetermined():
    rows = planted()
    seeds = seeds_of(rows[rows["net"] == "dense 8"])
    assert seeds["growth_exponent"].isna().all()
    found = claims(Analysis(DimensionsPlan(), None, {"seeds": seeds}))
    assert not [c for c in found if c.ident.startswith("most-cnn")]
    assert {c.verdict for c in found if c.ident.startswith("deeper")} == {"undetermined"}


def test_what_cannot_be_run_is_refused():
    with pytest.raises(RequestError):
        DimensionsPlan(nets=("dense 5",))
    with pytest.raises(RequestError):
        DimensionsPlan(starts=(0,))


@pytest.mark.slow
def test_a_small_run_has_a_page_and_tables_that_follow_from_it(tmp_path: Path):
    found = small_run("irrelevant_dimensions", tmp_path)
    runs = found.tables["runs"]
    assert runs["weights"].tolist()[:2] == [266.0, 310.0]
    assert len(runs) == 3  # a dense net, a CNN and a transformer
    assert (runs["irrelevant"] >= runs["irrelevant_strict"]).all()
    assert (runs["irrelevant"] <= runs["weights"]).all()
    assert math.isfinite(runs["top_growth"].sum())
    assert "what a sceptic would say" in (tmp_path / "report.html").read_text(encoding="utf-8")
    again = tables_of(pd.read_csv(tmp_path / "runs.csv"))
    pd.testing.assert_frame_equal(again["seeds"], found.tables["seeds"])
