"""A run in a tracker, while it goes on or afterwards: TensorBoard, Weights & Biases, MLflow.

::

    wb.run(task, wb.Gaussian(0.01), trackers=[trackers.TensorBoard("logs/fork")])
    trackers.to_tensorboard(result, "logs/fork")

Every metric of the whole model becomes a curve for each copy (``l2/gaussian-0.01@0#1``), and for
each perturbation ``.mean``, ``.lowest`` and ``.highest`` over its copies, a band; scalars with
their intervals are ``summary/…``, with ``.low`` and ``.high`` beside them. Undefined values are
left out. Of a running run distances, spread and losses come as they are recorded, the other metrics
when it is measured. `wingbeat.read_runs` goes the other way.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.execution.curves import curves_of
from wingbeat.execution.result import Result, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wingbeat.execution.live import Tracker

STEP: Final = "wingbeat/step"
"""What W&B draws the curves over. Its own count only grows, and copies go back to their fork."""


class TensorBoard:
    """Log as an event file.

    What the folder holds already is not logged once more, so that a run which goes on, with a
    tracker made anew, goes on with its curves.

    Args:
        folder: that ``tensorboard --logdir`` takes.

    Raises:
        RequestError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        _library("tensorboard")
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self.folder, self._held = Path(folder), _scalars_in(Path(folder))
        self._writer = writer(str(folder))

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Log values at a step; they are on the disk at once."""
        for name, value in values.items():
            self._scalar(name, value, step)
        self._writer.flush()

    def _scalar(self, name: str, value: float, step: int) -> None:
        # Event files hold single precision. Another value at the step is another run's: both show.
        if np.float32(value) not in self._held.get((name, step), ()):
            self._writer.add_scalar(name, value, step)

    def finish(self, result: Result) -> None:
        """Log the summary, and close the file."""
        last = result.steps[-1]
        for name, value in scalars(result).items():
            self._scalar(name, value, last)
        self._writer.add_text("verdict", str(result), last)
        self._writer.close()


class WeightsAndBiases:
    """Log as a run of Weights & Biases.

    Args:
        project: of W&B.
        name: of the run.
        init: further arguments of ``wandb.init``, as ``mode="offline"`` or ``dir=``.

    Raises:
        RequestError: wandb is not installed.
    """

    def __init__(self, project: str, *, name: str | None = None, **init: Any) -> None:
        self._run = _library("wandb").init(project=project, name=name, **init)
        self._run.define_metric(STEP, hidden=True)
        self._run.define_metric("*", step_metric=STEP)
        self.folder = Path(str(self._run.dir)).parent

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Log values at a step."""
        self._run.log({**values, STEP: step})

    def finish(self, result: Result) -> None:
        """Put summary, verdict and request into the run, and end it."""
        self._run.config.update({"wingbeat": result.condition}, allow_val_change=True)
        self._run.summary.update({**scalars(result), "verdict": str(result)})
        self._run.finish()


class MLflow:
    """Log as a run of MLflow.

    Args:
        uri: of the tracking server or store; None takes MLflow's own choice.
        experiment: its name.
        name: of the run.

    Raises:
        RequestError: MLflow is not installed.
    """

    def __init__(
        self, *, uri: str | None = None, experiment: str = "wingbeat", name: str | None = None
    ) -> None:
        self._client = _library("mlflow").MlflowClient(tracking_uri=uri)
        known = self._client.get_experiment_by_name(experiment)
        place = known.experiment_id if known else self._client.create_experiment(experiment)
        self.identity = str(self._client.create_run(place, run_name=name).info.run_id)

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Log values at a step."""
        for name, value in values.items():
            self._client.log_metric(self.identity, _named(name), value, step=step)

    def finish(self, result: Result) -> None:
        """Log summary and verdict, and end the run."""
        for name, value in scalars(result).items():
            self._client.log_metric(self.identity, _named(name), value, step=result.steps[-1])
        self._client.set_tag(self.identity, "wingbeat.verdict", str(result))
        self._client.set_terminated(self.identity)


def curves(result: Result) -> Iterator[tuple[str, int, float]]:
    """Yield (name, step, value) of all curves of a result, each in the order of its steps."""
    return curves_of(result.table, seeds=len(result.trajectories) > 1)


def scalars(result: Result) -> dict[str, float]:
    """Return the numbers of the summary by name, with the ends of their intervals."""
    found = {}
    for name, entry in result.summary.items():
        for key, end in (("value", ""), ("low", ".low"), ("high", ".high")):
            value = entry.get(key)
            if isinstance(value, int | float):
                found[f"summary/{name}{end}"] = float(value)
    return found


def to_tensorboard(result: Result | str | Path, folder: str | Path) -> Path:
    """Write a result as an event file; returns the folder that ``tensorboard --logdir`` takes.

    Raises:
        RequestError: TensorBoard is not installed.
    """
    found = _loaded(result)
    _logged(found, TensorBoard(folder))
    return Path(folder)


def to_wandb(
    result: Result | str | Path, project: str, *, name: str | None = None, **init: Any
) -> str:
    """Log a result as a run of Weights & Biases; returns the run's folder.

    Args:
        result: or the folder of a finished run.
        project: of W&B.
        name: of the run.
        init: further arguments of ``wandb.init``, as ``mode="offline"`` or ``dir=``.

    Raises:
        RequestError: wandb is not installed.
    """
    found = _loaded(result)
    tracker = WeightsAndBiases(project, name=name, **init)
    _logged(found, tracker)
    return str(tracker.folder)


def to_mlflow(
    result: Result | str | Path,
    *,
    uri: str | None = None,
    experiment: str = "wingbeat",
    name: str | None = None,
) -> str:
    """Log a result as a run of MLflow; returns the run's identity.

    Args:
        result: or the folder of a finished run.
        uri: of the tracking server or store; None takes MLflow's own choice.
        experiment: its name.
        name: of the run.

    Raises:
        RequestError: MLflow is not installed.
    """
    found = _loaded(result)
    tracker = MLflow(uri=uri, experiment=experiment, name=name)
    _logged(found, tracker)
    return tracker.identity


def _logged(result: Result, tracker: Tracker) -> None:
    steps: dict[int, dict[str, float]] = {}
    for curve, step, value in curves(result):
        steps.setdefault(step, {})[curve] = value
    for step in sorted(steps):
        tracker.record(step, steps[step])
    tracker.finish(result)


def _named(name: str) -> str:
    """Return a name that MLflow takes: letters, digits, and ``_-. :/``."""
    return name.replace("#", " copy ").replace("@", " at ").replace(",", " ").replace("=", " ")


def _loaded(result: Result | str | Path) -> Result:
    return result if isinstance(result, Result) else load(result)


def _scalars_in(folder: Path) -> dict[tuple[str, int], list[np.float32]]:
    """Return the scalars that event files in a folder hold, by name and step."""
    found: dict[tuple[str, int], list[np.float32]] = {}
    if any(folder.glob("*tfevents*")):
        place = "tensorboard.backend.event_processing.event_accumulator"
        held = importlib.import_module(place).EventAccumulator(
            str(folder), size_guidance={"scalars": 0, "tensors": 0}
        )
        held.Reload()
        for name in held.Tags()["scalars"]:
            for event in held.Scalars(name):
                found.setdefault((name, event.step), []).append(np.float32(event.value))
    return found


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RequestError(f"this needs {name}: pip install 'wingbeat[trackers]'") from error
