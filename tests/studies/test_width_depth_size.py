"""The study of scaling: exponents planted and found again, sparse layers, and a small run."""

from __future__ import annotations

import copy
import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from published import small_run
from torch.nn.utils import prune

from wingbeat.errors import RequestError
from wingbeat.studies.width_depth_size import ScalingPlan
from wingbeat.studies.width_depth_size.claims import claims
from wingbeat.studies.width_depth_size.found import nudges_of, seeds_of, slope, tables_of
from wingbeat.study.analysis import Analysis
from wingbeat.tasks.dense import mlp
from wingbeat.tasks.digit_families import PRUNING, family_net, family_task
from wingbeat.tasks.models.sparse import SparseLinear, pruned_mlp

NETS = [
    *((w, d, 1.0, "none") for w, d in product((8, 16, 64), (1, 2, 3))),
    *((64, 2, share, mask) for share, mask in product((0.5, 0.25), ("random", "pruned"))),
]


def planted(seeds=4, *, width=-0.5, layer=1.0, size=-0.5, density=0.0, learned=0.0, leaving=0.3,
            pruned=0.0):  # fmt: skip
    """Plant growth = 100 width^a 2^(b·depth) size^c (and density), with a little noise of each."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for (w, d, share, mask), (s, at) in product(NETS, [(0.01, 0), (0.1, 0), (0.1, 50)]):
            skill = rng.normal()
            log = width * np.log(w) + layer * d * np.log(2) + size * np.log(s)
            log += pruned * np.log(2) * (mask == "pruned")
            log += density * np.log(share) + learned * skill + 0.02 * rng.normal()
            rows.append(
                {
                    "activation": "relu", "width": w, "depth": d, "density": share, "mask": mask,
                    "seed": seed,
                    "test_accuracy": 0.9 + 0.01 * skill, "train_loss": 0.1 + 0.01 * rng.normal(),
                    "size": s, "at": at, "ratio": 100 * np.exp(log), "exponent": 0.01,
                    "disagreement": 0.1 * np.exp(log), "barrier": 0.01 * np.exp(log) * s**2,
                    "left": max(0.0, leaving * (1 - at / 50) + 0.01 * rng.normal()),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def judged(**how):
    return Analysis(ScalingPlan(), None, {"seeds": seeds_of(planted(**how))})


def verdicts(**how):
    return {c.ident.removesuffix("-relu"): c.verdict for c in claims(judged(**how))}


def test_planted_exponents_are_found_again():
    seeds = judged().tables["seeds"].mean(numeric_only=True)
    assert seeds["width"] == pytest.approx(-0.5, abs=0.02)
    assert seeds["depth"] == pytest.approx(1.0, abs=0.05)
    assert seeds["size"] == pytest.approx(-0.5, abs=0.02)
    assert seeds["barrier_size"] == pytest.approx(1.5, abs=0.1)  # rounding is added


def test_what_was_learned_is_held_constant():
    """Accuracy that decides growth alone, and width that does nothing, are told apart."""
    seeds = judged(width=0.0, learned=1.0).tables["seeds"]
    assert seeds["width_matched"].abs().max() < 0.03
    assert seeds["width"].abs().max() > 0.05


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (
            {},
            {
                "width": "holds",
                "size": "holds",
                "linear": "fails",
                "sparse": "fails",
                "left_early": "holds",
            },
        ),
        (
            {"width": 0.5, "layer": -1.0, "size": 0.4},
            {"width": "fails", "depth": "fails", "linear": "fails"},
        ),
        (
            {"size": 0.0, "density": -3.0, "seeds": 3},
            {"linear": "holds", "sparse": "holds"},
        ),
        (
            {"width": 0.0, "learned": 1.0, "seeds": 3},
            {"width_matched": "undetermined", "width": "undetermined"},
        ),
        ({"pruned": -1.0}, {"pruned": "holds", "sparse": "fails"}),
        ({"pruned": 1.0}, {"pruned": "fails", "sparse": "fails"}),
        ({"seeds": 2}, {"width": "undetermined"}),
    ],
)
def test_verdicts_on_planted_growth(how, expected):
    found = verdicts(**how)
    assert {claim: found[claim] for claim in expected} == expected


def test_a_slope_of_nothing_is_none():
    rows = pd.DataFrame({"y": [1.0, 2.0], "x": [1.0, 1.0], "g": [0, 0]})
    assert math.isnan(slope(rows, "y", "x", ("g",)))
    assert math.isnan(slope(rows.assign(y=math.nan), "y", "x", ("g",)))


@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
def test_a_sparse_layer_is_a_masked_dense_one(density):
    """Against torch's own layer with the missing weights at 0; and nothing else is trained."""
    torch.manual_seed(0)
    layer = SparseLinear(12, 7, density).double()
    weight = torch.zeros(layer.place.numel(), dtype=torch.float64)
    there = (layer.place < len(layer.values)).flatten()
    weight[there] = layer.values.detach()
    x = torch.randn(5, 12, dtype=torch.float64)
    expected = torch.nn.functional.linear(x, weight.reshape(7, 12), layer.bias)
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-15)
    layer(x).sum().backward()
    dense = x.sum(0).expand(7, 12).reshape(-1)[there]
    assert torch.allclose(layer.values.grad, dense)
    assert int(there.sum()) == round(density * 84)


@pytest.mark.parametrize("density", [0.3, 0.01])
def test_a_pruned_net_starts_with_the_weights_that_torch_prunes_last(density):
    """Against ``torch.nn.utils.prune`` on the trained net; the values are those of the start."""

    def train(net):
        for layer in net:
            if isinstance(layer, torch.nn.Linear):
                generator = torch.Generator().manual_seed(layer.in_features)
                layer.weight.data += torch.randn(layer.weight.shape, generator=generator)

    torch.manual_seed(1)
    full = mlp((12, 7, 5, 3))
    made, trained = pruned_mlp(full, density, train), copy.deepcopy(full)
    train(trained)
    for start, end, sparse in list(zip(full, trained, made, strict=True))[:-1]:
        if isinstance(start, torch.nn.Linear):
            count = max(1, round(density * start.weight.numel()))
            prune.l1_unstructured(end, "weight", start.weight.numel() - count)
            there = sparse.place < len(sparse.values)
            assert torch.equal(there, end.weight_mask.bool())
            assert torch.equal(sparse.values, start.weight[there])
            assert torch.equal(sparse.bias, start.bias)
    x = torch.randn(4, 12)
    assert made(x).shape == (4, 3)


def test_pruning_is_that_of_a_loop_by_hand():
    """The full net of the same seed, trained by hand as long, then its largest weights."""
    task = family_task("dense", (8,), 0.05, 20, optimizer="sgd", density=0.25, mask="pruned")
    torch.manual_seed(3)
    made = task.model()
    torch.manual_seed(3)
    net = mlp((64, 8, 10))
    start = net[1].weight.detach().clone()
    images, labels = task.data
    order = torch.Generator().manual_seed(PRUNING)
    rule = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for _ in range(20):
        own = torch.randint(1400, (64,), generator=order)
        rule.zero_grad()
        torch.nn.functional.cross_entropy(net(images[own]), labels[own]).backward()
        rule.step()
    size = net[1].weight.detach().abs()
    there = made[1].place < 128
    assert int(there.sum()) == 128
    assert size[there].min() >= size[~there].max()
    assert torch.equal(made[1].values, start[there])


def test_what_cannot_be_built_is_refused():
    with pytest.raises(RequestError):
        SparseLinear(4, 4, 0.0)
    with pytest.raises(RequestError):
        family_net("cnn", (4,), density=0.5)
    with pytest.raises(RequestError):
        family_net("mlp", (4,))
    with pytest.raises(RequestError):
        family_task("transformer", (8,))
    with pytest.raises(RequestError):
        ScalingPlan(widths=(8,))
    with pytest.raises(RequestError):
        family_task(density=0.5, mask="best")
    with pytest.raises(RequestError):
        ScalingPlan(masks=("best",))
    with pytest.raises(RequestError):
        ScalingPlan(replicas=1)  # one copy has no spread


@pytest.mark.slow
def test_a_small_grid_has_a_page_and_tables_that_follow_from_it(tmp_path: Path):
    found = small_run("width_depth_size", tmp_path)
    assert nudges_of(found.study.conditions).equals(found.tables["nudges"])
    assert len(found.claims) == 11
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "what a sceptic would say" in text
    again = tables_of(pd.read_csv(tmp_path / "nudges.csv"))
    pd.testing.assert_frame_equal(again["seeds"], found.tables["seeds"])
