"""Loops as people write them: the reference has the bits of the bare loop, twins are equal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loops import LOOPS, STEPS, by_hand, train

import wingbeat as wb
from wingbeat.params import trainable

PERTURBATIONS = (wb.Gaussian(0.01), wb.Gaussian(0.001, at=9), wb.Dropout(1, at=4))


@pytest.mark.parametrize("name", LOOPS)
def test_the_reference_is_the_bare_loop_and_twins_are_equal(name: str) -> None:
    loop = LOOPS[name]
    twins = wb.Twins(loop.build, PERTURBATIONS, steps=STEPS, replicas=2, seeds=(5,))
    train(twins, loop)
    result = twins.result()
    parts, losses = by_hand(loop, 5)
    found = result.trajectory.at(STEPS)
    for key, weight in trainable(parts["model"]).items():
        assert torch.equal(found.params[key][0], weight.detach()), key
    assert result.trajectory.losses[:, 0].tolist() == pytest.approx(losses, rel=0, abs=0)
    assert result.noise_floor == 0.0
    # That net draws nothing, so that other masks vary nothing, which is said.
    assert ["varied nothing" in w for w in result.warnings] == ([True] if name == "sam" else [])
    apart = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
    ends = apart[apart.step == STEPS].set_index("b").value
    assert ends.drop("null").min() > 0 or name in {"sam", "reinforce"}


def test_the_noise_of_a_copy_changes_from_its_fork_on() -> None:
    loop = LOOPS["classifier"]
    twins = wb.Twins(loop.build, wb.DataOrder(1, at=10), steps=20, replicas=3, record_every=1)
    train(twins, loop)
    trajectory = twins.result().trajectory
    assert trajectory.at(10).labels[2:] == tuple(f"order-1@10#{i}" for i in (1, 2, 3))
    first = next(iter(trajectory.at(10).params.values()))
    assert all(torch.equal(first[0], one) for one in first)  # not yet apart
    last = next(iter(trajectory.at(20).params.values()))
    assert not any(torch.equal(last[0], one) for one in last[2:])


def test_several_seeds_and_own_evaluation() -> None:
    loop = LOOPS["classifier"]
    twins = wb.Twins(loop.build, wb.Gaussian(0.01), steps=12, replicas=3, seeds=(0, 1, 2))
    train(twins, loop)
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))

    def evaluate(parts: dict[str, Any]) -> dict[str, float]:
        return {"positive": float((parts["model"](x)[:, 1] > 0).float().mean())}

    result = twins.result(evaluate)
    rows = result.table[result.table.metric == "positive"]
    assert sorted(rows.seed.unique()) == [0, 1, 2]
    parts, _ = by_hand(loop, 1, 12)
    parts["model"].eval()
    own = rows[(rows.seed == 1) & (rows.b == "reference") & (rows.step == 12)]
    assert own.value.tolist() == [evaluate(parts)["positive"]]
    assert result.summary["lyapunov_per_epoch"]["value"] is not None  # 8 batches in a pass


@pytest.mark.parametrize(("lr", "failed"), [(0.01, False), (1e6, True)])
def test_a_loss_that_need_not_fall_is_no_failure(lr: float, failed: bool) -> None:
    def build(seed: int) -> dict[str, Any]:
        model = torch.nn.Linear(3, 1)
        return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=lr)}

    twins = wb.Twins(build, wb.Gaussian(0.01), steps=60, replicas=2)
    for copy in twins:  # climbs, as the loss of one of two players may
        for x in copy.batches([torch.ones(4, 3)]):
            gain = copy.model(x).mean()
            (-gain if lr < 1 else gain.square()).backward()
            copy.parts["optimizer"].step()
            copy.parts["optimizer"].zero_grad()
            copy.step(gain if lr < 1 else gain.square())
    warnings = twins.result().warnings
    assert any("Training itself failed" in w for w in warnings) is failed
