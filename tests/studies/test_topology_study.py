"""What the study of topology reads off a net, against the same numbers made by hand."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from published import file_of, small_run
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from wingbeat.errors import CONSTANT, RequestError
from wingbeat.execution.run import run
from wingbeat.replicas.perturb import Gaussian
from wingbeat.studies.dynamics import plan as dynamics
from wingbeat.studies.dynamics.plan import DynamicsPlan
from wingbeat.studies.topology import TopologyPlan
from wingbeat.studies.topology.clouds import clouds_of, hidden_layers, samples
from wingbeat.studies.topology.measure import cloud_topology, of_layers, topology
from wingbeat.studies.topology.plan import LARGE, QUICK, conditions
from wingbeat.tasks.architectures import CIRCLES, FAMILIES, dense_task
from wingbeat.tasks.cnn import image_cnn
from wingbeat.tasks.data.text import PAD
from wingbeat.tasks.dense import mlp
from wingbeat.tasks.models.transformer import Transformer

pytestmark = pytest.mark.skipif(
    find_spec("gudhi") is None, reason="needs gudhi: pip install 'wingbeat[topology]'"
)


def tree(x):
    return minimum_spanning_tree(squareform(pdist(x))).sum()


def test_layers_of_dense_and_convolutional_nets_end_before_the_readout():
    net, x = mlp((2, 5, 4, 1)), torch.randn(6, 2)
    first = torch.relu(net[1](x))
    second = torch.relu(net[3](first))
    for found, wanted in zip(clouds_of(net, x, ["mean"])["mean"], (x, first, second), strict=True):
        assert found == pytest.approx(wanted.detach().double().numpy())
    smooth = mlp((2, 5, 4, 1), "gelu")
    assert hidden_layers(smooth) == hidden_layers(net) == ("2", "4")
    cnn, images = image_cnn((2, 3), side=8), torch.randn(4, 1, 8, 8)
    whole = clouds_of(cnn, images, ["mean"])["mean"]
    assert [x.shape for x in whole] == [(4, 64), (4, 32), (4, 12)]
    assert hidden_layers(cnn) == ("2", "5")


@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_a_transformers_words_are_pooled_as_they_are_read(kind):
    net = Transformer(kind, 64, 2, vocabulary=20, length=6)
    words = torch.tensor([[3, 4, 5, PAD, PAD, PAD], [7, 8, PAD, PAD, PAD, PAD]])
    mean, read = clouds_of(net, words, ("mean", "read")).values()
    assert len(mean) == len(read) == 5
    table = net.words.weight.detach().double()
    assert mean[0] == pytest.approx(torch.stack([table[3:6].mean(0), table[7:9].mean(0)]).numpy())
    last = {"gpt": (5, 8), "bert": (3, 7)}[kind]
    assert read[0] == pytest.approx(table[list(last)].numpy())
    block = net.words(words) + net.positions[:6]
    block = net.blocks[0].norm1(block if net.segments is None else block + net.segments[0])
    assert mean[1][1] == pytest.approx(block[1, :2].mean(0).detach().numpy(), abs=1e-6)
    scores = torch.from_numpy(read[-1]).float()
    scores = scores if net.pooler is None else torch.tanh(net.pooler(scores))
    assert net.head(scores).detach().numpy() == pytest.approx(net(words).detach().numpy(), abs=1e-5)


def test_numbers_of_a_net_are_those_of_its_clouds():
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(40, d)) * s for d, s in ((2, 1.0), (5, 0.5), (3, 4.0))]
    found = {
        k: v["value"] for k, v in of_layers([cloud_topology(x) for x in layers], "end").items()
    }
    lengths, means = [tree(x) for x in layers], [pdist(x).mean() for x in layers]
    assert found["expansion_input_end"] == pytest.approx(max(lengths[1:]) / lengths[0])
    assert found["expansion_layer_end"] == pytest.approx(max(lengths[1:]) / lengths[1])
    assert found["size_input_end"] == pytest.approx(max(means[1:]) / means[0])
    h0 = [length / (39 * mean) for length, mean in zip(lengths, means, strict=True)][1:]
    assert found["h0_end"] == pytest.approx(np.mean(h0))
    assert found["h0_span_end"] == pytest.approx(abs(h0[0] - h0[1]))
    assert [found[f"h0_end/{i}"] for i in (0, 1)] == pytest.approx(h0)
    twice = of_layers([cloud_topology(7 * x) for x in layers], "end")
    for name in ("h0_end", "h1_end", "expansion_layer_end", "radius_end"):
        assert twice[name]["value"] == pytest.approx(found[name]), name


def test_two_rings_are_two_loops_in_units_of_the_mean_distance():
    turn = 2 * np.pi * np.arange(12) / 12
    ring = np.c_[np.cos(turn), np.sin(turn)]
    x = np.concatenate([ring, 2 * ring + [10.0, 0.0]])
    found = cloud_topology(x)
    bar = 2 * np.sin(4 * np.pi / 12) - 2 * np.sin(np.pi / 12)
    assert found.h1 == pytest.approx(3 * bar / pdist(x).mean())
    assert found.radius == 0.0


def test_a_layer_that_lost_all_difference_has_no_shape_and_says_why():
    shapes = [cloud_topology(x) for x in (np.eye(9), np.eye(9), np.ones((9, 2)))]
    found = of_layers(shapes, "start")
    assert found["h0_start"]["reason"] == found["h1_start"]["reason"] == CONSTANT
    assert found["expansion_layer_start"]["value"] == 1.0
    dead = of_layers([shapes[0], shapes[2], shapes[1]], "start")
    assert dead["expansion_layer_start"]["reason"] == CONSTANT
    assert dead["expansion_input_start"]["value"] == pytest.approx(1.0)


def test_nets_are_trained_as_the_study_of_dynamics_trains_them(monkeypatch):
    monkeypatch.setattr(dynamics, "source_of", dict.fromkeys(FAMILIES, CIRCLES).__getitem__)
    names = {c.tags["architecture"] for c in conditions(TopologyPlan(seeds=1))}
    assert len(names) == 17
    assert not names & set(LARGE)
    assert {c.tags["architecture"] for c in conditions(TopologyPlan(quick=True))} == set(QUICK)
    other = {c.tags["architecture"]: c for c in dynamics.conditions(DynamicsPlan(seeds=1))}
    for own in conditions(TopologyPlan(seeds=1)):
        theirs = other[own.tags["architecture"]]
        for field in ("factory", "arguments", "perturbations", "replicas", "seeds", "driver"):
            assert getattr(own, field) == getattr(theirs, field), field
    trained = conditions(TopologyPlan(trained=True, families=("dense",), seeds=1))
    for own, theirs in zip(
        trained,
        dynamics.conditions(DynamicsPlan(trained=True, families=("dense",), seeds=1)),
        strict=True,
    ):
        assert own.arguments == theirs.arguments
        assert own.metrics == theirs.metrics
        assert set(own.measures) - set(theirs.measures) == {
            "wingbeat.studies.topology.measure:topology"
        }
    large = conditions(TopologyPlan(names=("GPT small",), seeds=1))
    assert [c.tags["architecture"] for c in large] == ["GPT small"]
    with pytest.raises(RequestError, match="GPT tiny"):
        TopologyPlan(names=("GPT tyny",))


def test_without_gudhi_nothing_is_begun(monkeypatch):
    monkeypatch.setitem(sys.modules, "gudhi.sklearn.rips_persistence", None)
    with pytest.raises(RequestError, match=r"wingbeat\[topology\]"):
        TopologyPlan()


def test_the_measure_is_of_the_untrained_and_of_the_trained_reference():
    arguments = {"hidden": [8, 4], "epochs": 2, "samples": 64}
    factory = {"place": "wingbeat.tasks.architectures:dense_task", "arguments": arguments}
    result = run(
        dense_task(**arguments), [Gaussian(0.3)], replicas=1, metrics=("l2",), factory=factory,
        driver="loop", progress=False,
    )  # fmt: skip
    found, x = {k: v["value"] for k, v in topology(result).items()}, samples("dense")
    for when, step in (("start", 0), ("end", result.steps[-1])):
        net = mlp((2, 8, 4, 1))
        recorded = result.trajectory.at(step).params
        net.load_state_dict({name: t[0] for name, t in recorded.items()})
        with torch.no_grad():
            first = torch.relu(net[1](x))
            second = torch.relu(net[3](first))
        lengths = [tree(a.double().numpy()) for a in (x, first, second)]
        for rule, below in (("input", lengths[0]), ("layer", lengths[1])):
            value = found[f"expansion_{rule}_{when}"]
            assert value == pytest.approx(max(lengths[1:]) / below), (rule, when)
    assert found["expansion_input_start"] != found["expansion_input_end"]
    drawn = sum(found[f"h1_dies_end/{i}"] - found[f"h1_born_end/{i}"] for i in range(
        sum(name.startswith("h1_dies_end/") for name in found)))  # fmt: skip
    assert drawn == pytest.approx(found["h1_end/1"])


@pytest.mark.slow
def test_a_quick_run_has_a_page_with_bars_tables_and_its_command(tmp_path):
    found = small_run("topology", tmp_path)
    text = found.page.read_text(encoding="utf-8")
    for word in ("barcode", "persistence diagram", "Scaled tree length", "lookup table"):
        assert word in text
    wanted = {"architectures.csv", "correlations.csv", "families.csv", "conventions.csv"}
    assert wanted <= {p.name for p in tmp_path.iterdir()}
    words = shlex.split(file_of("topology", quick=True).command)
    assert words[:3] == ["wingbeat", "study", "topology"]
    assert {"3-layer Small", "GPT tiny"} <= set(words)
