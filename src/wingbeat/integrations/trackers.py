"""A result in a tracker: TensorBoard, Weights & Biases, MLflow.

Every metric of the whole model becomes a curve for each copy (``l2/gaussian-0.01@0#1``), and for
each perturbation ``.mean``, ``.lowest`` and ``.highest`` over its copies, a band; scalars with
their intervals are ``summary/…``, with ``.low`` and ``.high`` beside them. Undefined values are
left out. `wingbeat.read_runs` goes the other way.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.execution.result import Result, load

if TYPE_CHECKING:
    from collections.abc import Iterator


def curves(result: Result) -> Iterator[tuple[str, int, float]]:
    """Yield (name, step, value) of all curves of a result, each in the order of its steps."""
    table = result.table[(result.table["layer"] == "") & result.table["value"].notna()]
    single = len(result.trajectories) == 1
    seeds = [""] * len(table) if single else [f"seed-{s}/" for s in table["seed"]]
    table = table.assign(
        place=seeds, copy=[_copy(a, b) for a, b in zip(table.a, table.b, strict=True)]
    )
    keys = ["place", "metric", "perturbation", "copy"]
    for (place, metric, owner, copy), rows in table.groupby(keys, sort=False):
        name = f"{place}{metric}/{copy or owner or 'all'}"
        for step, value in zip(rows["step"], rows["value"], strict=True):
            yield name, int(step), float(value)
    copies = table[(table["copy"] != "") & table["copy"].str.contains("#")]
    for (place, metric, owner), rows in copies.groupby(["place", "metric", "perturbation"]):
        by_step = rows.groupby("step")["value"].agg(["mean", "min", "max"])
        for column, word in (("mean", "mean"), ("min", "lowest"), ("max", "highest")):
            steps = by_step.index.to_numpy(dtype=np.int64).tolist()
            for step, value in zip(steps, by_step[column].tolist(), strict=True):
                yield f"{place}{metric}/{owner}.{word}", step, float(value)


def _copy(a: str, b: str) -> str:
    """Return which copy a row is of; a pair of copies where it is of two."""
    return f"{a} to {b}" if a not in ("", "reference") and b else b


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
    _library("tensorboard", "trackers")
    writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder))
    for name, step, value in curves(found):
        writer.add_scalar(name, value, step)
    last = found.steps[-1]
    for name, value in scalars(found).items():
        writer.add_scalar(name, value, last)
    writer.add_text("verdict", str(found), last)
    writer.close()
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
    run = _library("wandb", "trackers").init(
        project=project, name=name, config={"wingbeat": found.condition}, **init
    )
    steps: dict[int, dict[str, float]] = {}
    for curve, step, value in curves(found):
        steps.setdefault(step, {})[curve] = value
    for step in sorted(steps):  # W&B takes steps in their order only
        run.log(steps[step], step=step)
    run.summary.update({**scalars(found), "verdict": str(found)})
    folder = str(run.dir)
    run.finish()
    return str(Path(folder).parent)


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
    client = _library("mlflow", "trackers").MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(experiment)
    place = known.experiment_id if known else client.create_experiment(experiment)
    run = client.create_run(place, run_name=name)
    identity = str(run.info.run_id)
    for curve, step, value in curves(found):
        client.log_metric(identity, _named(curve), value, step=step)
    for scalar, value in scalars(found).items():
        client.log_metric(identity, _named(scalar), value, step=found.steps[-1])
    client.set_tag(identity, "wingbeat.verdict", str(found))
    client.set_terminated(identity)
    return identity


def _named(name: str) -> str:
    """Return a name that MLflow takes: letters, digits, and ``_-. :/``."""
    return name.replace("#", " copy ").replace("@", " at ").replace(",", " ").replace("=", " ")


def _loaded(result: Result | str | Path) -> Result:
    return result if isinstance(result, Result) else load(result)


def _library(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RequestError(f"this needs {name}: pip install 'wingbeat[{extra}]'") from error
