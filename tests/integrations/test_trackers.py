"""A result goes to every tracker and comes back as it was; and to xarray, as ArviZ takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import line_task, needs

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.integrations import trackers


@pytest.fixture(scope="module")
def result() -> wb.Result:
    asked = [wb.Gaussian(0.1), wb.Gaussian(0.2, at=4)]
    return wb.run(line_task(), asked, replicas=3, driver="loop", record_every=4)


def test_curves_and_bands_are_the_table(result: wb.Result) -> None:
    found: dict[str, dict[int, float]] = {}
    for name, step, value in trackers.curves(result):
        assert step not in found.setdefault(name, {}), "one value a step"
        found[name][step] = value
    whole = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
    for label in result.labels[1:]:
        rows = whole[whole.b == label]
        assert found[f"l2/{label}"] == dict(zip(rows.step, rows.value, strict=True))
    copies = [found[f"l2/gaussian-0.2@4#{n}"][8] for n in (1, 2, 3)]
    assert found["l2/gaussian-0.2@4.mean"][8] == pytest.approx(np.mean(copies))
    assert found["l2/gaussian-0.2@4.highest"][8] == max(copies)
    assert set(found["l2/gaussian-0.2@4.lowest"]) == {4, 8}
    numbers = trackers.scalars(result)
    assert numbers["summary/noise_floor"] == 0.0
    ratio = result.summary["convergence_ratio"]
    assert numbers["summary/convergence_ratio.low"] == ratio["low"]


def back(place: Path, name: str) -> dict[int, float]:
    (run,) = wb.read_runs(place).runs
    return run.values[name]


def expected(result: wb.Result) -> dict[int, float]:
    whole = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
    rows = whole[whole.b == "gaussian-0.1@0#2"]
    return {int(s): pytest.approx(v, rel=1e-6) for s, v in zip(rows.step, rows.value, strict=True)}


@needs("tensorboard")
def test_tensorboard(result: wb.Result, tmp_path: Path) -> None:
    trackers.to_tensorboard(result, tmp_path)
    assert back(tmp_path, "l2/gaussian-0.1@0#2") == expected(result)
    assert back(tmp_path, "summary/noise_floor") == {8: 0.0}


@pytest.mark.slow
@needs("wandb")
def test_wandb_offline(result: wb.Result, tmp_path: Path) -> None:
    import wandb

    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True)
    trackers.to_wandb(result, "p", mode="offline", dir=str(tmp_path), settings=settings)
    wandb.teardown()
    assert back(tmp_path, "l2/gaussian-0.1@0#2") == expected(result)


@pytest.mark.slow
@needs("mlflow")
def test_mlflow(result: wb.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    trackers.to_mlflow(result, uri=f"file://{tmp_path}/mlruns", name="mine")
    found = back(tmp_path / "mlruns", "l2/gaussian-0.1 at 0 copy 2")
    assert found == expected(result)


@pytest.mark.parametrize("tool", ["tensorboard", "wandb", "mlflow", "xarray"])
def test_a_package_that_is_not_there_is_named(
    tool: str, result: wb.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, tool, None)
    calls: dict[str, Any] = {
        "tensorboard": lambda: trackers.to_tensorboard(result, tmp_path),
        "wandb": lambda: trackers.to_wandb(result, "p"),
        "mlflow": lambda: trackers.to_mlflow(result),
        "xarray": result.to_xarray,
    }
    with pytest.raises(RequestError, match=f"needs {tool}: pip install"):
        calls[tool]()


@needs("xarray")
def test_xarray_is_the_table(result: wb.Result) -> None:
    found = result.to_xarray()
    assert dict(found.sizes) == {"chain": 6, "draw": 3}
    whole = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
    for chain in found.chain.values:
        label = str(found.replica[chain].item())
        rows = whole[whole.b == label].set_index("step").value
        for step in (0, 4, 8):
            value = float(found["l2"].sel(chain=chain, draw=step))
            assert value == rows[step] if step in rows.index else np.isnan(value)
    assert found.perturbation.values.tolist() == ["gaussian-0.1@0"] * 3 + ["gaussian-0.2@4"] * 3
    both = result.to_xarray(checks=True)
    assert {"reference", "null"} <= set(both.replica.values.tolist())


@pytest.mark.slow
@needs("xarray", "arviz")
def test_arviz_takes_it(result: wb.Result) -> None:
    import arviz

    first = result.to_xarray().where(lambda d: d.perturbation == "gaussian-0.1@0", drop=True)
    told = arviz.summary(first[["l2"]], kind="stats")
    assert told.loc["l2", "mean"] == pytest.approx(float(first["l2"].mean()), abs=1e-3)
