"""What every runner must do: the conformance suite for ``wingbeat.study.Runner``."""

from __future__ import annotations

import os
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import torch

from wingbeat.study.condition import Condition
from wingbeat.study.grid import cross
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.run import run_study
from wingbeat.study.runner import Runner
from wingbeat.study.runner.inline import InlineRunner
from wingbeat.task.task import Task


class RunnerConformance(ABC):
    """Tests of a runner; subclass it and say how yours is made.

    Attributes:
        isolates: whether a condition that ends its process leaves the others alone; only a
            runner that works in the calling process may say False.
        ahead: most conditions that may be taken from the iterable before the first record comes.

    Example:
        >>> class TestInline(RunnerConformance):
        ...     isolates = False
        ...
        ...     def make_runner(self):
        ...         return InlineRunner()
        >>> TestInline().test_one_record_for_each_condition()
    """

    isolates = True
    ahead = 64

    @abstractmethod
    def make_runner(self) -> Runner:
        """Return a fresh runner."""

    def test_one_record_for_each_condition(self) -> None:
        """All conditions come back once, with what the work returned."""
        grid = numbered(5)
        found = list(self.make_runner().map(echo, grid))
        assert sorted(r.key for r in found) == sorted(c.key for c in grid)
        assert {r.key: r.error for r in found} == {c.key: str(c.arguments["i"]) for c in grid}
        assert all(r.status == "done" for r in found)

    def test_nothing_to_do(self) -> None:
        """No condition gives no record."""
        assert list(self.make_runner().map(echo, [])) == []

    def test_a_runner_is_used_again(self) -> None:
        """A second round with the same runner works like the first: studies try again."""
        runner = self.make_runner()
        for _ in range(2):
            assert len(list(runner.map(echo, numbered(2)))) == 2

    def test_failed_records_come_back_as_they_are(self) -> None:
        """A record of failed work is a record like any other."""
        (record,) = self.make_runner().map(refuse, numbered(1))
        assert (record.status, record.error) == ("failed", "as asked")

    def test_conditions_are_taken_as_there_is_room(self) -> None:
        """An iterable that could go on forever is not read to its end."""
        taken = 0

        def endless() -> Iterator[Condition]:
            nonlocal taken
            for condition in numbered(10 * self.ahead):
                taken += 1
                yield condition

        records = self.make_runner().map(echo, endless())
        assert next(iter(records)).status == "done"
        assert taken <= self.ahead
        _close(records)

    def test_a_dying_process_takes_nothing_with_it(self) -> None:
        """The condition whose process ends is "died"; the others are done."""
        if not self.isolates:
            return
        grid = [*numbered(2), Condition("end this process"), *numbered(4)[2:]]
        found = {r.key: r for r in self.make_runner().map(echo_or_end, grid)}
        assert len(found) == len(grid)
        for condition in grid:
            ends = condition.factory == "end this process"
            assert found[condition.key].status == ("died" if ends else "done")
            assert bool(found[condition.key].error) or not ends

    def test_closing_ends_what_is_under_way(self) -> None:
        """After the iterator is closed no work goes on."""
        if not self.isolates:
            return
        with tempfile.TemporaryDirectory() as folder:
            place = {"folder": folder}
            grid = [Condition("m:f", {**place, "i": i, "beats": 4000 * (i > 0)}) for i in range(3)]
            records = self.make_runner().map(beat, grid)
            next(iter(records))
            _close(records)
            assert _comes_to_rest(Path(folder), seconds=60.0), "work goes on after the end"

    def test_a_study_has_the_same_bytes_as_inline(self) -> None:
        """``table.parquet`` of a small study is that of ``InlineRunner``, byte for byte."""
        with tempfile.TemporaryDirectory() as folder:
            here, there = Path(folder) / "inline", Path(folder) / "other"
            run_study(small_study(), here, InlineRunner())
            found = run_study(list(reversed(small_study())), there, self.make_runner())
            assert found.failures == (), found.failures
            assert (here / "table.parquet").read_bytes() == (there / "table.parquet").read_bytes()

    def test_a_poisoned_condition_stops_after_its_tries(self) -> None:
        """What fails each time is tried as often as asked, and the rest finishes."""
        good, bad = small_study()[0], Condition("wingbeat.testing.runners:poison")
        with tempfile.TemporaryDirectory() as folder:
            found = run_study([bad, good], folder, self.make_runner(), tries=2)
            assert [(r.key, r.status) for r in found.failures] == [(bad.key, "failed")]
            assert "poison" in found.failures[0].error
            events = [e["event"] for e in Ledger(Path(folder)).events() if e["key"] == bad.key]
            assert events.count("failed") == 2
            assert Ledger(Path(folder)).done() == {good.key}


def numbered(count: int) -> list[Condition]:
    """Return conditions that differ by a number."""
    return [Condition("m:f", {"i": i}) for i in range(count)]


def small_study() -> list[Condition]:
    """Return four conditions that train in a moment."""
    start = Condition(
        "wingbeat.testing.runners:line", replicas=3, metrics=("l2", "spread", "train_loss")
    )
    return cross(start, {"arguments.lr": [0.05, 0.1], "seed": [0, 1]})


def line(lr: float = 0.1, steps: int = 8) -> Task:
    """Return a task that fits a line by gradient descent."""
    x = torch.linspace(-1, 1, 32).unsqueeze(1)
    return Task(
        model=_linear,
        loss=_squares,
        data=(x, 2 * x),
        optimizer=lambda params: torch.optim.SGD(params, lr=lr),
        batch_size=8,
        steps=steps,
    )


def poison() -> Task:
    """Fail each time.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError("poison")


def echo(condition: Condition) -> Record:
    """Return the number of a condition."""
    return Record(condition.key, "done", str(condition.arguments.get("i")))


def refuse(condition: Condition) -> Record:
    """Return a failed record."""
    return Record(condition.key, "failed", "as asked")


def echo_or_end(condition: Condition) -> Record:
    """Return a record, or end the process as a crash in native code would."""
    if condition.factory == "end this process":
        os._exit(7)
    return echo(condition)


def beat(condition: Condition) -> Record:
    """Leave a file every twentieth of a second."""
    folder = Path(condition.arguments["folder"])
    for count in range(condition.arguments["beats"]):
        (folder / f"{condition.arguments['i']}-{count}").touch()
        time.sleep(0.05)
    return echo(condition)


def _linear() -> torch.nn.Module:
    return torch.nn.Linear(1, 1)


def _squares(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return torch.nn.functional.mse_loss(model(batch[0]), batch[1])


def _comes_to_rest(folder: Path, seconds: float) -> bool:
    """Wait until nothing changes for two seconds; a busy machine takes time to end processes."""
    deadline, still, before = time.monotonic() + seconds, 0, -1
    while time.monotonic() < deadline and still < 4:
        time.sleep(0.5)
        count = len(list(folder.iterdir()))
        still, before = (still + 1 if count == before else 0), count
    return still >= 4


def _close(records: Iterator[Record]) -> None:
    close = getattr(records, "close", None)
    assert close is not None, "map must be a generator, so that a study can end it early"
    close()
