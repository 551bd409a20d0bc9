"""``wingbeat study FILE`` and ``wingbeat study NAME``: studies, resumed where they stopped."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wingbeat.cli import show_study
from wingbeat.cli.compact import CompactCommand, CompactGroup
from wingbeat.cli.named_study import command_for, plan_shown
from wingbeat.cli.options import Json, Quiet, RayAddress, Resources, existing
from wingbeat.cli.parse import make_importable, parse_arguments
from wingbeat.cli.show_study import finished, quiet_or
from wingbeat.cli.study_names import HELP
from wingbeat.errors import RequestError
from wingbeat.report.pages.grid_of_conditions import write_grid_page
from wingbeat.report.pages.narrow_table import narrow
from wingbeat.study.ledger import Record
from wingbeat.study.load import load_study
from wingbeat.study.named import STUDIES
from wingbeat.study.named_file import NamedFile, names_a_study, read_named
from wingbeat.study.plan import plan_study
from wingbeat.study.run import run_study
from wingbeat.study.runner import RUNNERS, make_runner
from wingbeat.study.runner.processes import processors
from wingbeat.study.study import Study
from wingbeat.terminal import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wingbeat.study.condition import Condition
    from wingbeat.study.ledger import Record
    from wingbeat.study.outcome import StudyResult

StoreAddress = Annotated[
    str | None,
    typer.Option(help="Where workers deliver records if they do not see --out: s3://…"),
]
SUFFIXES = (".toml", ".yaml", ".yml")


class FileOrName(CompactGroup):
    """Commands of which the first word may also be a study file."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take a file name for the command that runs it."""
        if args and args[0] not in self.commands and args[0].endswith(SUFFIXES):
            args = ["run", *args]
        return super().resolve_command(ctx, args)


study = typer.Typer(
    cls=FileOrName,
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
for named_study in sorted(STUDIES.all().values(), key=lambda one: one.name):
    study.command(named_study.name, cls=CompactCommand)(command_for(named_study))


@study.callback()
def named() -> None:
    """Run a study file or a named study; the same command again goes on."""


@study.command("run", cls=CompactCommand)
def run_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Study file, .toml or .yaml.")],
    runner: Annotated[
        str, typer.Option(help="inline, processes, ray, slurm, or one of a package.")
    ] = "processes",
    workers: Annotated[
        int | None, typer.Option(help="Conditions at a time; default as many as there is room for.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the conditions and what they would cost.")
    ] = False,
    probes: Annotated[
        int, typer.Option(help="With --dry-run: conditions whose first steps are measured.")
    ] = 3,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; default runs/<name>.")
    ] = None,
    ray_address: RayAddress = None,
    resource: Resources = None,
    store: StoreAddress = None,
    tries: Annotated[
        int | None, typer.Option(help="Attempts at each condition; default as the file says.")
    ] = None,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep the snapshots of finished conditions.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Of a file that names a study: its part [quick].")
    ] = False,
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Run a study file; the same command again goes on where it stopped."""
    make_importable(Path.cwd(), file.resolve().parent)
    asked = _asked(file, quick=quick, grid_only=[bool(tries), store is not None])
    folder = context.params["out"] = out or Path("runs") / asked.name  # a stop names it
    ray: dict[str, Any] = {"ray_address": ray_address, "resources": parse_arguments(resource or ())}
    chosen = make_runner(runner, workers=workers, folder=folder / "jobs", **ray)
    if dry_run:
        _show_plan(asked, folder, workers or RUNNERS.find(runner).at_a_time, probes, as_json_text)
        return
    if isinstance(asked, NamedFile):
        own = None if runner == "processes" else chosen  # on a GPU it is one process, not all
        say = quiet_or(quiet or as_json_text)
        done = asked.run(folder, runner=own, workers=workers, keep_weights=keep_weights, say=say)
        finished(done, as_json_text)
        return
    found = run_study(
        asked.conditions,
        folder,
        chosen,
        tries=tries or asked.tries,
        keep_weights=keep_weights,
        progress=_silent if as_json_text or quiet else _told(asked.conditions),
        seconds=asked.seconds,
        store=store,
    )
    command = f"wingbeat study {file} --out {folder}"
    page = write_grid_page(found, asked.conditions, asked.name, command)
    _show_outcome(found, page, as_json_text=as_json_text, quiet=quiet)


def _asked(file: Path, *, quick: bool, grid_only: Sequence[bool]) -> NamedFile | Study:
    """Return what a study file asks for, and refuse options that only the other kind has."""
    if names_a_study(file):
        if any(grid_only):
            raise RequestError(f"{file} names a study, which takes no --tries and no --store")
        return read_named(file, quick=quick)
    if quick:
        raise RequestError(f"{file} names no study: only files that do have a part [quick]")
    return Study.from_file(file)


def _told(conditions: Sequence[Condition]) -> Callable[[Record, int, int], None]:
    """Return what prints the end of an attempt, its condition called by what differs."""
    names = show_study.called(conditions)
    return partial(show_study.ended, Console(), names=names)


def _silent(record: Record, ended: int, total: int) -> None:
    """Tell nothing at the end of a condition."""


def _show_plan(
    asked: NamedFile | Study, folder: Path, workers: int | None, probes: int, as_json_text: bool
) -> None:
    """Show what a file would train and what that would cost."""
    if isinstance(asked, NamedFile):
        options = {"workers": workers, "device": asked.device, "probes": probes}
        plan_shown(asked.study, asked.plan, folder, options, as_json_text=as_json_text)
        return
    plan = plan_study(asked.conditions, folder, workers=workers or processors(), probes=probes)
    if as_json_text:
        show_study.document(plan.to_json())
    else:
        show_study.plan(Console(), asked.name, plan)


def _show_outcome(found: StudyResult, page: Path, *, as_json_text: bool, quiet: bool) -> None:
    """Show what a study found, and end with exit code 1 if a condition failed."""
    if as_json_text:
        show_study.document({**show_study.outcome_json(found), "report": str(page)})
    elif not quiet:
        show_study.outcome(Console(), found)
        Console().print(f"report: {page}", soft_wrap=True, highlight=False, markup=False)
    if found.failures:
        raise typer.Exit(1)


@study.command("show", cls=CompactCommand)
def show(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder; may hold wildcards.")],
    value: Annotated[str, typer.Option(help="Scalar to compare, such as final_l2.")] = "lyapunov",
    highest: Annotated[bool, typer.Option("--highest", help="Large values are good.")] = False,
    outcome: Annotated[
        list[str] | None,
        typer.Option(help="Test metric to correlate it with, across conditions; repeatable."),
    ] = None,
    as_json_text: Json = False,
) -> None:
    """Show a study: the best conditions by a scalar, and each axis's effect, its correlations."""
    if not set("*?[") & set(folder):
        existing(Path(folder))
    found = load_study(folder)
    tables = {
        "leaderboard": found.leaderboard(value, lowest=not highest),
        "effects": found.effects(value),
    }
    if outcome:
        tables["correlation"] = found.correlate([value], outcome)
    if as_json_text:
        show_study.document(
            {"value": value, **{name: show_study.rows_of(table) for name, table in tables.items()}}
        )
        return
    console = Console()
    for name, table in tables.items():
        console.print(f"{name} of {value}", markup=False)
        console.print(show_study.table(narrow(table)))
