"""A named study, written once: plan, conditions, records, tables, claims, page, command.

A study declares its parts and registers itself; ``wingbeat study NAME`` finds it in `STUDIES`,
also where another package announces it as an entry point of the group ``wingbeat.studies``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wingbeat.execution.arguments import check_device
from wingbeat.plugins import Registry
from wingbeat.study.analysis import Analysis, PageContent, Tables
from wingbeat.study.answer import answer_of
from wingbeat.study.finished import done
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.plan import plan_study
from wingbeat.study.plan_options import command_of
from wingbeat.study.run import run_study
from wingbeat.study.runner.processes import ProcessRunner, processors

if TYPE_CHECKING:
    from wingbeat.study.condition import Condition
    from wingbeat.study.outcome import StudyResult
    from wingbeat.study.plan import StudyPlan
    from wingbeat.study.runner.protocol import Runner
    from wingbeat.study.verdicts import Claim

Say = Callable[[str], object]
NOTHING: Final = PageContent("Nothing is finished yet.", (), (), {})
"""The page of a study of which no condition is done: what failed and what is left."""


class Finding(NamedTuple):
    """A study that has been run and judged.

    Attributes:
        study: its conditions.
        page: path of its report.
        tables: what it found, by the names of their CSV files in the study's folder; empty if no
            condition has finished.
        claims: each with its verdict; empty for a study that tests none.
        headline: what its page says first: the answer, with verdict, number, interval and doubt.
    """

    study: StudyResult
    page: Path
    tables: Tables
    claims: tuple[Claim, ...] = ()
    headline: str = ""


def _no_claims(_: Analysis) -> tuple[Claim, ...]:
    return ()


def _nothing(*_: Any) -> Any:
    return None


def _no_conditions(*_: Any) -> list[Condition]:
    return []


def _as_asked(plan: Any, _: Path) -> Any:
    return plan


def _placed(condition: Condition, device: str) -> Condition:
    return replace(condition, device=device)


def _no_lines(*_: Any) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class NamedStudy:
    """The parts of a study.

    Args:
        name: of the command, ``wingbeat study NAME``.
        title: of the page.
        help: what the command says of it, a question.
        answers: short names of the claims that answer it, or patterns; see
            `wingbeat.study.answer.main_claims`.
        plan: dataclass of what can be asked; its fields are declared by ``option``.
        conditions: from a plan to what is trained.
        tables: from plan and study to tables of findings, written as CSV.
        page: from plan, study, tables and claims to the page.
        claims: from plan, study and tables to claims with their verdicts.
        read: from plan and study to what tables, claims and page share: ``Analysis.own``.
        begun: from a plan and a folder to the plan as that folder was begun; refuses a folder
            that holds something else.
        announce: from plan, conditions, those that are left and the number of processes to what
            is said before anything is trained.
        told: tags that name a condition where its end is told; () for all.
        further: from plan and what is done so far to the conditions that follow from it; none ends
            the study. A search goes on round by round so.
        placed: from a condition and a device to the condition as it is trained there.
    """

    name: str
    title: str
    help: str
    plan: type[Any]
    conditions: Callable[[Any], list[Condition]]
    tables: Callable[[Analysis], Tables]
    page: Callable[[Analysis], PageContent]
    claims: Callable[[Analysis], tuple[Claim, ...]] = _no_claims
    answers: tuple[str, ...] = ()
    read: Callable[[Any, StudyResult], Any] = _nothing
    begun: Callable[[Any, Path], Any] = _as_asked
    announce: Callable[[Any, list[Condition], list[Condition], int], Sequence[str]] = _no_lines
    told: tuple[str, ...] = ()
    further: Callable[[Any, StudyResult], list[Condition]] = _no_conditions
    placed: Callable[[Condition, str], Condition] = _placed

    @property
    def function(self) -> Callable[[Any], list[Condition]]:
        """Where the study is defined, for messages of the registry."""
        return self.conditions

    def command(self, plan: Any, device: str = "cpu", compiled: bool = False) -> str:
        """Return the command line that runs a plan, on the processor or another device."""
        line = command_of(self.name, plan)
        line += "" if device == "cpu" else f" --device {device}"
        return line + " --compiled" * compiled

    def run(
        self,
        plan: Any,
        out: str | Path,
        *,
        runner: Runner | None = None,
        workers: int | None = None,
        device: str = "cpu",
        compiled: bool = False,
        say: Say = print,
        keep_weights: bool = False,
    ) -> Finding:
        """Run what is left of a plan, judge it, write its tables, claims and page.

        Args:
            plan: what to run.
            out: folder; the same call again goes on where it stopped.
            runner: who does the work; None starts processes.
            workers: how many processes; None takes one for each processor, or one for another
                device, whose memory they would share.
            device: where the nets are trained: "cpu", "cuda", "mps" and so on. A folder may hold
                conditions of both; the page shows those of the device that is asked for.
            compiled: whether steps go through ``torch.compile``; a minute for each net, and other
                bits: a folder may hold conditions of both.
            say: takes each line.
            keep_weights: keep the snapshots of finished conditions.

        Raises:
            RequestError: the plan cannot be run, or not in this folder, or there is no such device.
        """
        device = str(check_device(device))
        count = workers or _at_a_time(device)
        plan = self.begun(plan, Path(out))
        telling = _Telling(say, self.told)

        def placed(conditions: list[Condition]) -> list[Condition]:
            there = [self.placed(condition, device) for condition in conditions]
            return telling.of([replace(one, compiled=compiled) for one in there])

        grid = placed(self.conditions(plan))
        left = Ledger(Path(out)).left(grid)
        self._announced(plan, grid, left, count, say)
        chosen = runner or ProcessRunner(count)
        study = run_study(
            grid, out, chosen, keep_weights=keep_weights, progress=telling,
            further=lambda so_far: placed(self.further(plan, so_far)),
        )  # fmt: skip
        for record in study.failures:
            say(f"given up: {record.key} ({record.status}, {record.error})")
        return self.judge(plan, study, say, self.command(plan, device, compiled))

    def dry_run(
        self,
        plan: Any,
        out: str | Path,
        *,
        workers: int | None = None,
        device: str = "cpu",
        probes: int = 3,
        say: Say = print,
    ) -> StudyPlan:
        """Say what a plan would train and what that would cost; nothing is written.

        Args:
            plan: what would be run.
            out: its folder, which need not exist; what is done there is not counted.
            workers: how many processes; see `run`.
            device: where the nets would be trained.
            probes: conditions whose first steps are measured; 0 measures nothing.
            say: takes each line.

        Returns:
            Times of training and of the metrics; what the study reads off each finished condition
            (its ``measures``) comes on top, and of a search all rounds but the first.

        Raises:
            RequestError: the plan cannot be run, or not in this folder, or there is no such device.
        """
        device, folder = str(check_device(device)), Path(out)
        count = workers or _at_a_time(device)
        plan = self.begun(plan, folder)
        grid = [self.placed(condition, device) for condition in self.conditions(plan)]
        left = Ledger(folder).left(grid) if (folder / "records").is_dir() else grid
        self._announced(plan, grid, left, count, say)
        return plan_study(grid, folder, workers=count, probes=probes)

    def _announced(
        self, plan: Any, grid: list[Condition], left: list[Condition], count: int, say: Say
    ) -> None:
        say(f"{len(grid)} conditions, {len(grid) - len(left)} of them done already")
        for line in self.announce(plan, grid, left, count):
            say(line)

    def judge(self, plan: Any, study: StudyResult, say: Say = print, command: str = "") -> Finding:
        """Judge what is done of a plan and write tables, claims and page; nothing is trained.

        Args:
            plan: what was asked.
            study: what is done, finished or not.
            say: takes each line.
            command: that runs it, for its page; the plan's own by default.
        """
        from wingbeat.report.pages.finding import page_of, write_finding

        found, content = Analysis(plan, study, question=self.help), NOTHING
        if len(done(study)):
            found = replace(found, own=self.read(plan, study))
            found = replace(found, tables=self.tables(found))
            claims = self.claims(found)
            found = replace(found, claims=claims, answer=answer_of(claims, self.answers))
            content = self.page(found)
        else:
            say("no condition has finished: there is nothing to report")
        page = page_of(self.title, content, found, command or self.command(plan))
        path = write_finding(self.name, page, found)
        if found.claims:
            say(page.told)
        say(f"report: {path}")
        return Finding(study, path, found.tables, found.claims, page.told)


def _at_a_time(device: str) -> int:
    """Return how many processes there are where nobody says it."""
    return processors() if device == "cpu" else 1


@dataclass
class _Telling:
    """Says how each attempt ended, by the tags of its condition."""

    say: Say
    names: Sequence[str]
    shown: dict[str, str] = field(default_factory=dict)

    def of(self, grid: list[Condition]) -> list[Condition]:
        """Remember what conditions are called, and return them."""
        self.shown |= {
            c.key: ", ".join(f"{name} {c.tags[name]}" for name in self.names or c.tags)
            for c in grid
        }
        return grid

    def __call__(self, record: Record, ended: int, total: int) -> None:
        end = f"{record.seconds:.1f} s" if record.status == "done" else record.error
        self.say(f"[{ended}/{total}] {self.shown[record.key]}: {record.status}, {end}")


STUDIES: Final = Registry[NamedStudy](
    "wingbeat.studies",
    "study",
    lambda found: isinstance(found, NamedStudy),
    builtin="wingbeat.studies",
)
"""Every named study; each folder of `wingbeat.studies` adds its own when it is imported."""


def register(study: NamedStudy) -> NamedStudy:
    """Make a study known by its name, and return it.

    Raises:
        RequestError: another study has that name.
    """
    return STUDIES.add(study.name, study)
