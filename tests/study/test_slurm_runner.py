"""Slurm by way of submitit's local executors: time limits, deaths, options."""

from __future__ import annotations

from pathlib import Path

import pytest
import study_tasks

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.runner import make_runner
from wingbeat.study.runner.slurm import Requeued, SlurmRunner

HERE = Path(__file__).resolve().parent


def test_what_is_asked_for_before_the_time_limit_is_the_same_call() -> None:
    condition = Condition("m:f")
    again = Requeued(study_tasks.echo).checkpoint(condition)
    assert again.args == (condition,)
    assert again.result().key == condition.key


@pytest.mark.long
def test_a_job_that_meets_its_time_limit_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    (tmp_path / "starts").mkdir()
    condition = Condition("m:f", {"folder": str(tmp_path / "starts")})
    # The shortest limit that submitit takes; its signal comes 30 s before.
    runner = SlurmRunner(tmp_path / "jobs", cluster="local", poll=0.2, options={"timeout_min": 1})
    (record,) = runner.map(study_tasks.hang_once, [condition])
    assert (record.status, record.error) == ("done", "start 2")


@pytest.mark.long
def test_a_job_that_dies_is_said_to_have_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    runner = SlurmRunner(tmp_path, cluster="local", poll=0.1)
    (record,) = runner.map(study_tasks.end_process, [Condition("m:f")])
    assert record.status == "died"
    assert "the job" in record.error


def test_wrong_requests(tmp_path: Path) -> None:
    runner = make_runner("slurm", folder=tmp_path, resources={"slurm_partitoin": "gpu"})
    with pytest.raises(RequestError, match="slurm_partitoin"):
        list(runner.map(study_tasks.echo, [Condition("m:f")]))
    with pytest.raises(RequestError, match="workers is 0"):
        SlurmRunner(tmp_path, workers=0)
    with pytest.raises(RequestError, match="array is 0"):
        SlurmRunner(tmp_path, array=0)
    with pytest.raises(RequestError, match="cluster is 'pbs'"):
        SlurmRunner(tmp_path, cluster="pbs")
