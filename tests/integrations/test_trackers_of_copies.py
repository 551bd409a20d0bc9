"""Copies that train one after another, in a loop or a framework: told to trackers as they train."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.integrations import trackers
from wingbeat.scripts import OnStep, fork_training

X = torch.linspace(-1, 1, 32).unsqueeze(1)
STEPS, EVERY, COPIES = 8, 4, 3
METRICS = ["l2", "relative_l2", "spread", "cosine"]
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard not installed"
)


class Notes:
    """A tracker of one's own: what came, in its order; it may end the process at a call."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.calls: list[tuple[int, dict[str, float]]] = []
        self.result: wb.Result | None = None
        self.dies_at = dies_at

    def record(self, step: int, values: Mapping[str, float]) -> None:
        if len(self.calls) == self.dies_at:
            raise KeyboardInterrupt
        self.calls.append((step, dict(values)))

    def finish(self, result: wb.Result) -> None:
        self.result = result

    @property
    def told(self) -> list[tuple[str, int]]:
        return [(name, step) for step, values in self.calls for name in values]

    @property
    def curves(self) -> dict[tuple[str, int], float]:
        return {(n, step): v for step, values in self.calls for n, v in values.items()}


def build(seed: int) -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}


ASKED = [wb.Gaussian(0.1), wb.Gaussian(0.2, at=5)]


def in_a_loop(*told: Any, seeds: Any = (0,), out: Path | None = None, **more: Any) -> wb.Result:
    options: dict[str, Any] = {"replicas": COPIES, "record_every": EVERY, "steps": STEPS, **more}
    options |= {"metrics": [*METRICS, "train_loss"]}
    twins = wb.Twins(build, ASKED, trackers=told, seeds=seeds, out=out, **options)
    for copy in twins:
        for batch in copy.batches(list(X.split(8))):
            loss = (copy.model(batch) - 2 * batch).square().mean()
            copy.parts["optimizer"].zero_grad()
            loss.backward()
            copy.parts["optimizer"].step()
            copy.step(loss)
    return twins.result()


def train(on_step: OnStep) -> None:
    """Train as a framework does, which keeps its loss."""
    model, optimizer = build(0).values()
    on_step(0, model)
    for step in range(1, STEPS + 1):
        loss = (model(torch.randn(8, 1)) - 1.0).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        on_step(step, model, last=step == STEPS)


def as_a_function(*told: Any, out: Path) -> wb.Result:
    own = {"replicas": COPIES, "record_every": EVERY, "trackers": told, "metrics": METRICS}
    return fork_training(train, wb.Gaussian(0.1), out, **own)  # type: ignore[arg-type]


def expected(result: wb.Result) -> dict[tuple[str, int], float]:
    return {(name, step): value for name, step, value in trackers.curves(result)}


def test_a_loop_tells_each_copy_on_the_way_and_bands_with_the_last() -> None:
    notes = Notes()
    result = in_a_loop(notes)
    assert notes.curves == expected(result)
    assert max(Counter(notes.told).values()) == 1, "nothing is told twice"
    place = {one: i for i, one in reversed(list(enumerate(notes.told)))}
    copies = [("l2/gaussian-0.1@0#1", 8), ("l2/gaussian-0.1@0#2", 8), ("l2/gaussian-0.1@0#3", 8)]
    band = [("l2/gaussian-0.1@0.mean", 8), ("spread/gaussian-0.1@0", 8)]
    later = [("l2/gaussian-0.2@5#1", 5), ("cosine/gaussian-0.1@0#1", 8)]
    order = [place[one] for one in (*copies, band[0], later[0], later[1])]
    assert order == sorted(order)
    assert place[band[1]] > place[copies[-1]] - 3
    assert ("train_loss/reference", 8) in place
    assert notes.result is not None
    assert notes.result.summary == result.summary


@pytest.mark.slow
def test_a_loop_of_several_base_seeds_names_them() -> None:
    notes = Notes()
    result = in_a_loop(notes, seeds=(0, 3))
    assert notes.curves == expected(result)
    assert max(Counter(notes.told).values()) == 1
    assert ("seed-3/l2/gaussian-0.2@5#2", 8) in notes.curves


@pytest.mark.slow
@pytest.mark.parametrize("dies_at", [3, 11])
def test_a_loop_that_goes_on_tells_what_was_before(tmp_path: Path, dies_at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        in_a_loop(Notes(dies_at), out=tmp_path, checkpoint_seconds=0.0)
    notes = Notes()
    result = in_a_loop(notes, out=tmp_path, checkpoint_seconds=0.0)
    assert notes.curves == expected(result)
    assert max(Counter(notes.told).values()) == 1


def test_a_function_tells_each_copy_on_the_way(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        as_a_function(Notes(6), out=tmp_path)
    notes = Notes()
    result = as_a_function(notes, out=tmp_path)
    assert notes.curves == expected(result)
    assert max(Counter(notes.told).values()) == 1
    assert ("l2/gaussian-0.1@0.lowest", 4) in notes.told
    again = Notes()
    assert expected(as_a_function(again, out=tmp_path)) == again.curves == notes.curves


@pytest.mark.slow
@needs_tensorboard
@pytest.mark.parametrize("way", ["loop", "function"])
def test_tensorboard_holds_each_point_once_though_the_run_was_killed(
    tmp_path: Path, way: str
) -> None:
    """Killed half way, resumed, and read once more: three writers on one folder, one series."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs, out = tmp_path / "logs", tmp_path / "run"
    go = in_a_loop if way == "loop" else as_a_function
    with pytest.raises(KeyboardInterrupt):
        go(trackers.TensorBoard(logs), Notes(7), out=out)
    half = EventAccumulator(str(logs))
    half.Reload()
    assert "l2/null" in half.Tags()["scalars"]
    assert "l2/gaussian-0.1@0.mean" not in half.Tags()["scalars"]
    for _ in range(2):
        result = go(trackers.TensorBoard(logs), out=out)
    found = EventAccumulator(str(logs), size_guidance={"scalars": 0})
    found.Reload()
    for (name, step), value in expected(result).items():
        (event,) = [e for e in found.Scalars(name) if e.step == step]
        assert event.value == pytest.approx(value, rel=1e-6)
    assert len(found.Scalars("summary/noise_floor")) == 1


def test_what_is_no_tracker_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="trackers holds a str"):
        in_a_loop("logs")
    with pytest.raises(RequestError, match="trackers holds a str"):
        as_a_function("logs", out=tmp_path)
    assert not any(tmp_path.iterdir())
