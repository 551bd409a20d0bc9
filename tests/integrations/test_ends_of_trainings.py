"""How a training ends: the last recording, against a loop written by hand, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import wingbeat as wb
from wingbeat.determinism import seed_all, seeded
from wingbeat.errors import RequestError
from wingbeat.scripts import OnStep, fork_training

STEPS = 8


def trained(on_step: Any, steps: int = STEPS, at_end: float = 1.0) -> nn.Module:
    """Train by hand, shrink the weights when the last epoch is over, and say so."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    on_step(0, model)
    for step in range(1, steps + 1):
        loss = (model(torch.randn(8, 4)) - 1.0).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        on_step(step, model)
    with torch.no_grad():
        model[2].weight.mul_(at_end)
    on_step(steps, model, last=True)
    return model


@pytest.mark.parametrize("record_every", [1, 4, 5])
def test_the_last_recording_is_what_the_last_epoch_leaves(
    record_every: int, tmp_path: Path
) -> None:
    result = fork_training(
        lambda on_step: trained(on_step, at_end=0.5) and None,
        wb.Gaussian(0.1),
        tmp_path,
        replicas=1,
        record_every=record_every,
    )
    with seeded(0):
        seed_all(0)
        own = trained(lambda *_, **__: None, at_end=0.5)
    last = load_file(tmp_path / f"runs/reference/step-{STEPS}.safetensors")
    for name, weight in own.named_parameters():
        assert torch.equal(last[name], weight), name
    assert result.noise_floor == 0.0
    assert result.steps[-1] == STEPS
    assert not [w for w in result.warnings if "took the place" in w]


def test_weights_that_are_replaced_after_training_are_said(tmp_path: Path) -> None:
    def averaged(on_step: OnStep) -> None:
        model = trained(on_step)
        with torch.no_grad():
            model[0].weight.mul_(0.5)  # an average, or the best checkpoint
        on_step.left(model)

    result = fork_training(averaged, wb.Gaussian(0.1), tmp_path / "x", replicas=1)
    assert [w for w in result.warnings if "took the place of its last" in w]
    last = load_file(tmp_path / f"x/runs/reference/step-{STEPS}.safetensors")
    with seeded(0):
        seed_all(0)
        own = trained(lambda *_, **__: None)
    assert torch.equal(last["0.weight"], own[0].weight), "not what took its place"


def test_trainings_that_end_at_different_steps_are_named(tmp_path: Path) -> None:
    def stopping(on_step: OnStep) -> None:
        trained(on_step, steps=STEPS - 3 if "gaussian" in on_step.label else STEPS)

    result = fork_training(stopping, wb.Gaussian(0.1), tmp_path, replicas=1, record_every=2)
    (said,) = [w for w in result.warnings if "ended at different steps" in w]
    assert f"reference {STEPS}" in said
    assert f"gaussian-0.1@0#1 {STEPS - 3}" in said
    assert result.steps == (0, 2, 4)


def test_copies_whose_weights_have_other_names_are_refused_at_the_fork(tmp_path: Path) -> None:
    made: list[str] = []

    def numbered(on_step: OnStep) -> None:
        model = nn.ModuleDict({f"dense_{len(made)}": nn.Linear(2, 2)})
        made.append(on_step.label)
        on_step(0, model)
        made.append("trained")
        on_step(1, model, last=True)

    with pytest.raises(
        RequestError, match=r"null have other names than those built before: 'dense_0.bias' is"
    ):
        fork_training(numbered, wb.Gaussian(0.1), tmp_path, replicas=1)
    assert made == ["reference", "trained", "null"], "the twin was trained before it was refused"


def test_twins_whose_weights_have_other_names_are_refused_before_training() -> None:
    made: list[nn.Module] = []

    def build(seed: int) -> nn.Module:
        made.append(nn.ModuleDict({f"dense_{len(made)}": nn.Linear(2, 2)}))
        return made[-1]

    with pytest.raises(RequestError, match="reference have other names than those built before"):
        next(iter(wb.Twins(build, wb.Gaussian(0.1), steps=4)))


@pytest.mark.parametrize("last", [3, 4])
def test_a_fork_that_leaves_nothing_to_train_is_refused_when_the_end_is_known(
    last: int, tmp_path: Path
) -> None:
    hook = OnStep(tmp_path, at=4)
    with pytest.raises(RequestError, match=f"fork at step 4, and training ends at step {last}"):
        hook.expect(last)
    hook.expect(5)


@pytest.mark.parametrize(("steps", "record_every"), [(0, 1), (STEPS, 50)])
def test_a_training_of_which_nothing_is_recorded_is_refused(
    steps: int, record_every: int, tmp_path: Path
) -> None:
    made: list[str] = []

    def untold(on_step: OnStep) -> None:
        made.append(on_step.label)
        trained(lambda step, model, last=False: last or on_step(step, model), steps=steps)

    with pytest.raises(RequestError, match="nothing was recorded after the fork at step 0"):
        fork_training(untold, wb.Gaussian(0.1), tmp_path, record_every=record_every)
    assert made == ["reference"], "copies were trained before it was refused"


OWNERS = "wingbeat.integrations and wingbeat.scripts.fork_training"


def test_who_brings_a_trainer_is_told_where_trainers_are_forked() -> None:
    class Net:
        """What skorch, fastai and Keras hand out: it fits itself."""

        def fit(self) -> None: ...

    with pytest.raises(RequestError, match=OWNERS):
        next(iter(wb.Twins(lambda _: {"model": Net()}, wb.Gaussian(0.1), steps=2)))
    with pytest.raises(wb.RunError, match=OWNERS):
        list(wb.Twins(lambda _: nn.Linear(2, 2), wb.Gaussian(0.1), steps=2))
