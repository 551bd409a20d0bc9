"""The example scripts, as written for deep-lyapunov, run with only the import line changed."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(name: str):
    """Return the ``main`` of an example."""
    mpl.use("Agg")
    path = EXAMPLES / f"{name}.py"
    found = {"__name__": name}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), found)
    return found["main"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    from matplotlib import pyplot as plt

    plt.close("all")


def assert_sensible(results) -> None:
    assert math.isfinite(results.convergence_ratio)
    assert results.lyapunov == pytest.approx(
        math.log(results.convergence_ratio) / (results.n_checkpoints - 1)
    )
    assert results.behavior in ("convergent", "divergent", "undetermined")
    assert results.effective_dimensionality >= 1
    assert all(one.path_length > 0 for one in results.trajectory_metrics)


def test_analyse_and_report(tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_sensible(script("deep_lyapunov_basic")(tmp_path / "report"))
    assert (tmp_path / "report" / "report.html").exists()
    assert "convergence ratio" in capsys.readouterr().out


def test_a_loop_of_ones_own(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = script("deep_lyapunov_own_loop")(tmp_path)
    assert_sensible(results)
    assert all(one.final_loss is not None for one in results.trajectory_metrics)
    assert (tmp_path / "report.md").exists()


def test_compare_three_nets():
    found = script("deep_lyapunov_compare")(epochs=3)
    assert list(found) == ["wide", "narrow", "deep"]
    for results in found.values():
        assert_sensible(results)
        assert all(0 < one.final_accuracy <= 1 for one in results.trajectory_metrics)
