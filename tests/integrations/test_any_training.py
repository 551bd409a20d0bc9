"""A training that is a function, forked: against a loop written by hand, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import wingbeat as wb
from wingbeat.determinism import seed_all, seeded
from wingbeat.errors import RequestError, RunError, StoreError
from wingbeat.locks import holding
from wingbeat.scripts import fork_training

STEPS = 12


def build() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    loss = (model(torch.randn(8, 4)) - 1.0).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def train(on_step: Any) -> None:
    model, optimizer = build()
    on_step(0, model)
    for step in range(1, STEPS + 1):
        update(model, optimizer)
        on_step(step, model, last=step == STEPS)


@pytest.mark.parametrize("at", [0, 6])
def test_copies_are_the_loop_written_by_hand(at: int, tmp_path: Path) -> None:
    result = fork_training(train, wb.Gaussian(0.1), tmp_path, replicas=2, at=at, record_every=4)
    assert result.noise_floor == 0.0
    assert result.steps == tuple(sorted({at, 4, 8, 12} - set(range(at))))
    copy = load_file(tmp_path / f"runs/gaussian-0.1@0#2/step-{at}.safetensors")
    moved: dict[str, Any] = {}
    with seeded(0):
        for label in ("reference", "gaussian-0.1@0#2"):
            seed_all(0)
            model, optimizer = build()
            for step in range(STEPS + 1):
                if step:
                    update(model, optimizer)
                if step == at and label != "reference":
                    moved = {n: p.detach().clone() for n, p in model.named_parameters()}
                    for name, weight in model.named_parameters():
                        weight.data.copy_(copy[name])
            last = load_file(tmp_path / f"runs/{label}/step-{STEPS}.safetensors")
            for name, weight in model.named_parameters():
                assert torch.equal(last[name], weight), (label, name)
    for name in [n for n in moved if n.endswith("weight")]:  # 10 % of each tensor's deviation
        ratio = float((copy[name] - moved[name]).std() / moved[name].std())
        assert 0.05 < ratio < 0.2


def test_a_training_that_does_not_repeat_itself_says_where(tmp_path: Path) -> None:
    runs: list[int] = []

    def forgetful(on_step: Any) -> None:
        runs.append(1)
        model, optimizer = build()
        on_step(0, model)
        for step in range(1, STEPS + 1):
            update(model, optimizer)
            if step == 7:
                with torch.no_grad():
                    model[3].bias.add_(0.1 * len(runs))  # a count that outlives the training
            on_step(step, model, last=step == STEPS)

    result = fork_training(forgetful, wb.Gaussian(0.1), tmp_path, replicas=1, record_every=4)
    (said,) = [w for w in result.warnings if "does not repeat itself" in w]
    assert "differs at step 8, in" in said
    assert result.noise_floor > 0


def test_done_is_kept_and_half_is_begun_anew(tmp_path: Path) -> None:
    options: dict[str, Any] = {"replicas": 2, "record_every": 4}
    first = fork_training(train, wb.Gaussian(0.1), tmp_path / "a", **options)
    (tmp_path / "a/runs/gaussian-0.1@0#1/done.json").unlink()
    (tmp_path / "a/runs/gaussian-0.1@0#1/step-8.safetensors").write_bytes(b"half")
    again = fork_training(train, wb.Gaussian(0.1), tmp_path / "a", **options)
    assert again.table.equals(first.table)
    with pytest.raises(StoreError, match="holds another fork"):
        fork_training(train, wb.Gaussian(0.2), tmp_path / "a", **options)


def test_a_training_with_a_slip_may_be_put_right(tmp_path: Path) -> None:
    """Nothing is kept of one that failed in its first copy: was a folder lost to it."""
    options: dict[str, Any] = {"replicas": 1, "record_every": 4}
    with pytest.raises(RunError, match="never called on_step"):
        fork_training(forgets, wb.Gaussian(0.1), tmp_path, **options)
    found = fork_training(train, wb.Gaussian(0.1), tmp_path, **options)
    assert found.noise_floor == 0


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with holding(tmp_path), pytest.raises(StoreError, match="in use by another"):
        fork_training(train, wb.Gaussian(0.1), tmp_path)


def forgets(on_step: Any) -> None:
    model, optimizer = build()
    update(model, optimizer)


def late(on_step: Any) -> None:
    model, optimizer = build()
    update(model, optimizer)
    on_step(1, model)


def jumps(on_step: Any) -> None:
    model, _ = build()
    for step in (0, 4, 8):
        on_step(step, model)


def frozen(on_step: Any) -> None:
    on_step(0, nn.Linear(2, 2).requires_grad_(False))


REFUSED = {
    "never called": (forgets, 0, RunError, "never called on_step with step 0"),
    "first called late": (late, 0, RunError, "first called with step 1"),
    "passed over": (jumps, 6, RunError, "the steps 4 and 8"),
    "not reached": (train, 99, RunError, "never called on_step with step 99"),
    "nothing trained": (frozen, 0, RequestError, "no weight that is trained"),
    "no function": ("train.py", 0, RequestError, "train is a str"),
    "step": (train, -1, RequestError, "at"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    training, at, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        fork_training(training, wb.Gaussian(0.1), tmp_path, at=at)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("perturbation", "words"),
    [(wb.DataOrder(1), "does not change weights"), (wb.Gaussian(0.1, at=3), "say it by at=")],
)
def test_perturbations_that_cannot_be(perturbation: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=words):
        fork_training(train, perturbation, tmp_path)


def test_a_nudge_that_rounding_swallows_is_said(tmp_path: Path) -> None:
    def ones(on_step: Any) -> None:
        model = nn.Linear(4, 4, dtype=torch.bfloat16)
        nn.init.zeros_(model.bias)
        on_step(0, model)
        on_step(1, model, last=True)

    tiny = fork_training(ones, wb.Gaussian(1e-9), tmp_path / "tiny", replicas=1)
    assert any("rounding swallowed it" in w for w in tiny.warnings)
    large = fork_training(ones, wb.Gaussian(0.5), tmp_path / "large", replicas=1)
    assert any("moved nothing in 1 tensors (bias)" in w for w in large.warnings)


class Adapted(nn.Module):
    """A frozen layer with a factor of low rank that is trained: B is 0 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(2, 4))
        self.lora_b = nn.Parameter(torch.zeros(4, 2))


def test_adapters_alone_unless_asked_otherwise(tmp_path: Path) -> None:
    def adapted(on_step: Any) -> None:
        model = nn.Module()
        model.module = Adapted()  # as a wrapper has it
        on_step(0, model)
        on_step(1, model, last=True)

    result = fork_training(adapted, wb.Gaussian(0.1), tmp_path / "a", replicas=1)
    names = {"lora_a", "lora_b"}
    assert set(load_file(tmp_path / "a/runs/null/step-0.safetensors")) == names
    assert any("lora_b" in w and "second factor" in w for w in result.warnings)
    fork_training(adapted, wb.Gaussian(0.1), tmp_path / "b", replicas=1, weights="all")
    moved = load_file(tmp_path / "b/runs/gaussian-0.1@0#1/step-0.safetensors")
    assert set(moved) == {"frozen.weight", "frozen.bias", *names}
    still = load_file(tmp_path / "b/runs/null/step-0.safetensors")
    assert not torch.equal(moved["frozen.weight"], still["frozen.weight"])


def test_weights_that_unfreeze_after_the_fork_are_named(tmp_path: Path) -> None:
    def thawing(on_step: Any) -> None:
        model, optimizer = build()
        model[0].requires_grad_(False)
        on_step(0, model)
        for step in range(1, STEPS + 1):
            model[0].requires_grad_(step > 4)
            update(model, optimizer)
            on_step(step, model, last=step == STEPS)

    result = fork_training(thawing, wb.Gaussian(0.1), tmp_path, replicas=1, record_every=4)
    assert result.noise_floor == 0.0
    assert "0.bias, 0.weight" in " ".join(result.warnings)
    assert "0.weight" not in load_file(tmp_path / f"runs/reference/step-{STEPS}.safetensors")
