"""Every base seed, kind, size, step and replica draws its own."""

from __future__ import annotations

import json
from itertools import combinations, product
from typing import Any

import cases
import pytest
import torch
from torch import Tensor

import wingbeat as wb
from wingbeat.analyses.noise_sources.available import Everything
from wingbeat.replicas.perturb.perturbation import Nudge, Perturbation
from wingbeat.task.batches import Streams
from wingbeat.trajectory.store import FolderStore

BASES, REPLICAS = (0, 1, 7), (1, 2)


def delta(nudge: Nudge, replica: int) -> Tensor:
    weights = {"w": torch.linspace(-1.0, 1.0, 900)}

    def gradient(seed: int) -> dict[str, Tensor]:
        drawn = torch.randn(900, generator=torch.Generator().manual_seed(seed))
        return {"w": drawn}

    return nudge.delta(weights, gradient, replica)["w"]


NUDGES: list[list[Nudge]] = [
    [wb.Gaussian(s, at=at) for s, at in product((1e-3, 1e-2), (0, 5))],
    [wb.BatchGradient(s, at=at) for s, at in product((1e-3, 1e-2), (0, 5))],
]


@pytest.mark.parametrize("nudges", NUDGES, ids=["gaussian", "batchgradient"])
def test_no_two_draws_are_alike(nudges: list[Nudge]) -> None:
    drawn = [delta(n.of_base(b), r) for n in nudges for b in BASES for r in REPLICAS]
    cosine = torch.corrcoef(torch.stack(drawn))
    # 24 independent directions in 900 dimensions: |cosine| above 0.2 has p < 1e-6 for all pairs
    assert (cosine - torch.eye(len(drawn))).abs().max() < 0.2


@pytest.mark.parametrize("make", [wb.SingleWeight, wb.Ulp], ids=["singleweight", "ulp"])
def test_each_base_seed_picks_its_own_weights(make: Any) -> None:
    places = [int(delta(make().of_base(b), r).nonzero()[0]) for b in range(6) for r in REPLICAS]
    # 12 of 900 at random: two pairs that agree are possible, half of them (all shared) is not
    assert len(set(places)) >= 10


SEEDED: list[Perturbation] = [
    wb.Gaussian(0.01),
    wb.Gaussian(0.02),
    wb.Gaussian(0.01, at=3),
    wb.Gaussian(0.01, fraction=0.5),
    wb.DataOrder(),
    wb.DataOrder(at=3),
    wb.Augmentation(),
    wb.Dropout(),
    wb.Init(),
    Everything(),
]


def test_the_seeds_behind_the_draws_are_all_different() -> None:
    seeds = [p.of_base(b).derived(r) for p in SEEDED for b in BASES for r in REPLICAS]
    assert len(set(seeds)) == len(seeds) == len(SEEDED) * len(BASES) * len(REPLICAS)


@pytest.mark.parametrize("change", [wb.DataOrder(), wb.Augmentation(), wb.Dropout(), Everything()])
def test_streams_differ_between_base_seeds(change: Any) -> None:
    found = {change.of_base(b).streams(Streams.of(0), r) for b in BASES for r in REPLICAS}
    assert len(found) == len(BASES) * len(REPLICAS)


def test_a_name_and_the_type_of_a_number_draw_nothing_new() -> None:
    assert wb.Gaussian(1).derived(1) == wb.Gaussian(1.0, name="mine").derived(1)
    assert wb.Gaussian(1.0).of_base(3) == wb.Gaussian(1.0)
    assert wb.Gaussian(1.0, seed=1).derived(1) != wb.Gaussian(1.0).derived(1)


@pytest.mark.parametrize("perturbation", [wb.Gaussian(0.1), wb.Init(), wb.DataOrder(1)])
def test_one_seed_and_seeds_agree_and_seeds_differ(perturbation: Perturbation) -> None:
    task = cases.task("mlp", steps=3)
    several = wb.run(task, perturbation, replicas=2, driver="loop", seeds=[0, 4])
    ends = {}
    for seed in (0, 4):
        alone = wb.run(
            cases.task("mlp", steps=3, seed=seed), perturbation, replicas=2, driver="loop"
        )
        for name, tensor in alone.trajectory.at(3).params.items():
            assert torch.equal(tensor, several.trajectories[seed].at(3).params[name])
        ends[seed] = several.trajectories[seed].at(0)
    for one, two in combinations(ends.values(), 2):
        for name in one.params:
            first, second = (s.params[name][2:] - s.params[name][:1] for s in (one, two))
            assert not torch.equal(first, second) or not bool(first.any())


def test_a_folder_of_the_old_draws_is_another_request(tmp_path: Any) -> None:
    task = cases.task("mlp", steps=2)
    wb.run(task, wb.Gaussian(0.1), replicas=2, driver="loop", out=tmp_path)
    store = FolderStore(tmp_path)
    asked = json.dumps(store.read_json("condition.json"))
    store.write_json("condition.json", json.loads(asked.replace('"draws"', '"drawn"')))
    with pytest.raises(wb.StoreError, match="another request"):
        wb.run(task, wb.Gaussian(0.1), replicas=2, driver="loop", out=tmp_path)
