"""A named study, written once: plan, conditions, records, tables, claims, page, command.

A study declares its parts and registers itself; ``wingbeat study NAME`` finds it in `STUDIES`,
also where another package announces it as an entry point of the group ``wingbeat.studies``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wingbeat.plugins import Registry
from wingbeat.study.analysis import Analysis, PageContent, Tables
from wingbeat.study.finished import done
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.plan_options import command_of
from wingbeat.study.processes import ProcessRunner, processors
from wingbeat.study.run import run_study

if TYPE_CHECKING:
    from wingbeat.study.condition import Condition
    from wingbeat.study.outcome import StudyResult
    from wingbeat.study.protocol import Runner
    from wingbeat.study.verdicts import Claim

Say = Callable[[str], object]


class Finding(NamedTuple):
    """A study that has been run and judged.

    Attributes:
        study: its conditions.
        page: path of its report; None if no condition has finished.
        tables: what it found, by the names of their CSV files in the study's folder.
        claims: each with its verdict; empty for a study that tests none.
    """

    study: StudyResult
    page: Path | None
    tables: Tables
    claims: tuple[Claim, ...] = ()


def _no_claims(_: Analysis) -> tuple[Claim, ...]:
    return ()


@dataclass(frozen=True)
class NamedStudy:
    """The parts of a study.

    Args:
        name: of the command, ``wingbeat study NAME``.
        title: of the page.
        help: what the command says of it, a question.
        plan: dataclass of what can be asked; its fields are declared by ``option``.
        conditions: from a plan to what is trained.
        tables: from plan and study to tables of findings, written as CSV.
        page: from plan, study, tables and claims to the page.
        claims: from plan, study and tables to claims with their verdicts.
    """

    name: str
    title: str
    help: str
    plan: type[Any]
    conditions: Callable[[Any], list[Condition]]
    tables: Callable[[Analysis], Tables]
    page: Callable[[Analysis], PageContent]
    claims: Callable[[Analysis], tuple[Claim, ...]] = _no_claims

    @property
    def function(self) -> Callable[[Any], list[Condition]]:
        """Where the study is defined, for messages of the registry."""
        return self.conditions

    def command(self, plan: Any) -> str:
        """Return the command line that runs a plan."""
        return command_of(self.name, plan)

    def run(
        self,
        plan: Any,
        out: str | Path,
        *,
        runner: Runner | None = None,
        workers: int | None = None,
        say: Say = print,
    ) -> Finding:
        """Run what is left of a plan, judge it, write its tables, claims and page.

        Args:
            plan: what to run.
            out: folder; the same call again goes on where it stopped.
            runner: who does the work; None starts processes.
            workers: how many processes; None takes one for each processor.
            say: takes each line.
        """
        grid = self.conditions(plan)
        study = run_grid(grid, out, runner=runner, workers=workers, say=say)
        if not len(done(study)):
            say("no condition has finished: there is nothing to report")
            return Finding(study, None, {})
        found = Analysis(plan, study)
        found = replace(found, tables=self.tables(found))
        found = replace(found, claims=self.claims(found))
        page = self._write(found)
        say(f"report: {page}")
        return Finding(study, page, found.tables, found.claims)

    def _write(self, found: Analysis) -> Path:
        from wingbeat.report.pages.finding import page_of, write_finding_page

        folder, command = found.study.folder, self.command(found.plan)
        for name, table in found.tables.items():
            table.to_csv(folder / f"{name}.csv", index=False)
        content = {
            "study": self.name,
            "command": command,
            "claims": [asdict(c) for c in found.claims],
            "failures": [f"{r.key}: {r.status}, {r.error}" for r in found.study.failures],
        }
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        page = page_of(self.title, self.page(found), found, command)
        return write_finding_page(page, folder / "report.html")


def run_grid(
    grid: Sequence[Condition],
    out: str | Path,
    *,
    runner: Runner | None = None,
    workers: int | None = None,
    say: Say = print,
) -> StudyResult:
    """Run what is left of a grid and say how each condition ended.

    Args:
        grid: the conditions.
        out: folder; the same call again goes on where it stopped.
        runner: who does the work; None starts processes.
        workers: how many processes; None takes one for each processor.
        say: takes each line.
    """
    shown = {c.key: ", ".join(f"{k} {v}" for k, v in c.tags.items()) for c in grid}

    def told(record: Record, ended: int, total: int) -> None:
        end = f"{record.seconds:.1f} s" if record.status == "done" else record.error
        say(f"[{ended}/{total}] {shown[record.key]}: {record.status}, {end}")

    left = Ledger(Path(out)).left(grid)
    say(f"{len(grid)} conditions, {len(grid) - len(left)} of them done already")
    chosen = runner or ProcessRunner(workers or processors())
    return run_study(grid, out, chosen, progress=told)


STUDIES: Final = Registry[NamedStudy](
    "wingbeat.studies",
    "study",
    lambda found: isinstance(found, NamedStudy),
    builtin="wingbeat.studies",
)
"""Every named study; each folder of `wingbeat.studies` adds its own when it is imported."""
