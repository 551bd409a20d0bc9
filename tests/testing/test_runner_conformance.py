"""Our runners pass the suite that we publish, and the suite fails a runner that is wrong.

Ray's is in ``tests/faults/test_study_kills.py``, in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Record
from wingbeat.study.runner import InlineRunner, ProcessRunner, Runner
from wingbeat.study.runner.slurm import SlurmRunner
from wingbeat.testing import RunnerConformance


class TestInline(RunnerConformance):
    isolates = False
    ahead = 1

    def make_runner(self) -> Runner:
        return InlineRunner()


@pytest.mark.long
class TestProcesses(RunnerConformance):
    ahead = 4

    def make_runner(self) -> Runner:
        return ProcessRunner(2)


class TestSlurmInThisProcess(RunnerConformance):
    isolates = False
    ahead = 2

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_runner(self) -> Runner:
        return SlurmRunner(self.folder, cluster="debug", workers=1, poll=0.01)


@pytest.mark.long
class TestSlurmJobsAsProcesses(RunnerConformance):
    ahead = 4

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_runner(self) -> Runner:
        return SlurmRunner(self.folder, cluster="local", workers=2, poll=0.1)


class Twice(InlineRunner):
    def map(self, work, conditions: Iterable[Condition]) -> Iterator[Record]:
        for record in super().map(work, conditions):
            yield record
            yield record


class Greedy(InlineRunner):
    def map(self, work, conditions: Iterable[Condition]) -> Iterator[Record]:
        yield from super().map(work, list(conditions))


@pytest.mark.parametrize(
    ("runner", "test"),
    [
        (Twice, "test_one_record_for_each_condition"),
        (Greedy, "test_conditions_are_taken_as_there_is_room"),
    ],
)
def test_the_suite_finds_what_is_wrong(runner: type[Runner], test: str) -> None:
    class Suite(RunnerConformance):
        def make_runner(self) -> Runner:
            return runner()

    with pytest.raises(AssertionError):
        getattr(Suite(), test)()
