"""A running run in a tracker: what was logged on the way is the table of the end, and is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cases import line_task, needs

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.integrations import trackers

ASKED = [wb.Gaussian(0.1), wb.Gaussian(0.2, at=4)]


def run(*told: Any, **more: Any) -> wb.Result:
    options: dict[str, Any] = {"replicas": 3, "driver": "loop", "record_every": 4, "trackers": told}
    return wb.run(line_task(), ASKED, **{**options, **more})


class Notes:
    """A tracker of one's own: what came, in its order."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.calls: list[tuple[int, dict[str, float]]] = []
        self.result: wb.Result | None = None
        self.fails_at = fails_at

    def record(self, step: int, values: Mapping[str, float]) -> None:
        if len(self.calls) == self.fails_at:
            raise ConnectionError("the server is away")
        self.calls.append((step, dict(values)))

    def finish(self, result: wb.Result) -> None:
        self.result = result

    @property
    def curves(self) -> dict[tuple[str, int], float]:
        return {(n, step): v for step, values in self.calls for n, v in values.items()}


def expected(result: wb.Result) -> dict[tuple[str, int], float]:
    return {(name, step): value for name, step, value in trackers.curves(result)}


@pytest.mark.parametrize("driver", ["loop", "lockstep"])
def test_it_is_told_on_the_way_and_completely(driver: str) -> None:
    notes = Notes()
    result = run(notes, driver=driver)
    assert notes.result is not None
    assert notes.result.summary == result.summary
    assert notes.curves == expected(result)
    on_the_way = [(step, values) for step, values in notes.calls if "l2/null" in values]
    assert [step for step, _ in on_the_way] == [0, 4, 8]
    last = on_the_way[2][1]
    names = {"l2/gaussian-0.2@4#3", "spread/gaussian-0.1@0", "train_loss/reference"}
    assert names <= set(last)
    assert not any(name.startswith("cosine") for name in last), "of the whole run, at its end"
    told = [name for step, values in notes.calls for name in values if step == 8]
    assert len(told) == len(set(told)), "nothing is told twice"


def test_several_base_seeds_are_named() -> None:
    notes = Notes()
    result = run(notes, seeds=(0, 5))
    assert notes.curves == expected(result)
    assert ("seed-5/l2/gaussian-0.1@0#1", 8) in notes.curves


def test_what_a_folder_holds_is_told_too(tmp_path: Path) -> None:
    run(out=tmp_path)
    notes = Notes()
    assert notes.calls == []
    result = run(notes, out=tmp_path)
    assert notes.curves == expected(result)


def test_a_run_that_goes_on_tells_what_was_before(tmp_path: Path) -> None:
    class Stops(Notes):
        def record(self, step: int, values: Mapping[str, float]) -> None:
            if step == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Stops(), out=tmp_path, checkpoint_seconds=0.0)
    notes = Notes()
    result = run(notes, out=tmp_path)
    assert notes.curves == expected(result)
    assert [step for step, values in notes.calls if "l2/null" in values] == [0, 4, 8]


def test_a_tracker_that_fails_does_not_cost_the_run() -> None:
    broken, notes = Notes(fails_at=1), Notes()
    with pytest.warns(UserWarning, match="the tracker Notes failed .*the server is away"):
        result = run(broken, notes)
    assert notes.curves == expected(result)
    assert broken.result is None


def test_what_is_no_tracker_is_refused_before_anything_is_computed() -> None:
    with pytest.raises(RequestError, match="trackers holds a str"):
        run("logs")


@needs("tensorboard")
def test_tensorboard_reads_it_back(tmp_path: Path) -> None:
    result = run(trackers.TensorBoard(tmp_path))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    found.Reload()
    scalars = set(found.Tags()["scalars"])
    for (name, step), value in expected(result).items():
        assert name in scalars
        (event,) = [e for e in found.Scalars(name) if e.step == step]
        assert event.value == pytest.approx(value, rel=1e-6)
    assert found.Scalars("summary/noise_floor")[0].value == 0.0
    # On the way: the moments are not all of one time, and the first came before the last.
    times = {e.step: e.wall_time for e in found.Scalars("l2/null")}
    assert times[0] < times[8]


@pytest.mark.slow
@needs("wandb")
def test_wandb_offline_reads_it_back(tmp_path: Path) -> None:
    import wandb
    from wandb.proto import wandb_internal_pb2

    from wingbeat.analyses.logged_runs.formats.wandb_offline import _records

    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True)
    tracker = trackers.WeightsAndBiases("p", mode="offline", dir=str(tmp_path), settings=settings)
    result = run(tracker, seeds=(0, 1))
    wandb.teardown()
    (file,) = tracker.folder.glob("run-*.wandb")
    seen: dict[tuple[str, int], float] = {}
    summary: dict[str, str] = {}
    for raw in _records(file.read_bytes()):  # the frame is LevelDB's, the messages are W&B's own
        record = wandb_internal_pb2.Record()
        record.ParseFromString(raw)
        items = {(i.key or ".".join(i.nested_key)): i.value_json for i in record.history.item}
        if trackers.STEP in items:
            step = int(items.pop(trackers.STEP))
            own = {k: v for k, v in items.items() if not k.startswith("_")}
            seen |= {(k, step): float(v) for k, v in own.items()}
        summary |= {i.key: i.value_json for i in record.summary.update}
    assert seen == expected(result)
    assert float(summary["summary/noise_floor"]) == 0.0
    (back,) = wb.read_runs(tmp_path).runs
    assert back.values["seed-1/l2/gaussian-0.1@0#2"][8] == pytest.approx(
        seen["seed-1/l2/gaussian-0.1@0#2", 8]
    )


@pytest.mark.slow
@needs("mlflow")
def test_mlflow_reads_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file://{tmp_path}/mlruns"
    tracker = trackers.MLflow(uri=uri, name="mine")
    result = run(tracker)
    client = mlflow.MlflowClient(tracking_uri=uri)
    assert client.get_run(tracker.identity).info.status == "FINISHED"
    for (name, step), value in expected(result).items():
        own = name.replace("#", " copy ").replace("@", " at ")
        history = {m.step: m.value for m in client.get_metric_history(tracker.identity, own)}
        assert history[step] == value, name
