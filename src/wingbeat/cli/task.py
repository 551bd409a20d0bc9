"""``wingbeat run``, ``verify``, ``demo``: one task, from the command line."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from wingbeat.cli import parse, show
from wingbeat.cli.options import (
    Arguments,
    Device,
    Driver,
    Dtype,
    Json,
    Overwrite,
    Place,
    Quiet,
    folder_for,
    typed,
)
from wingbeat.cli.overwrite import collisions, throw_away
from wingbeat.terminal import Console, echo

if TYPE_CHECKING:
    from wingbeat.execution.held import Remeasure

Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the run; default runs/<factory>.")
]

Perturb = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND",
        help="kind[:size][@step][,field=value], as gaussian:0.01@500; repeatable [gaussian:0.01].",
    ),
]
Compiled = Annotated[
    bool | None, typer.Option("--compiled/--not-compiled", help="The lock-step function.")
]


def run(
    factory: Place,
    arg: Arguments = None,
    perturb: Perturb = None,
    replicas: Annotated[int, typer.Option(help="Replicas for each perturbation.")] = 5,
    record_every: Annotated[
        int | None, typer.Option(help="Steps between snapshots; default about 20 in all.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="See `wingbeat metrics`; repeatable.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How many base seeds; default the task's own.")
    ] = None,
    driver: Driver = "auto",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    compiled: Compiled = None,
    out: Out = None,
    overwrite: Overwrite = False,
    remeasure: Annotated[
        str, typer.Option(help="add, or replace: forget what is not asked for.")
    ] = "add",
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Fork a training run, measure how the copies part, and write a report."""
    from wingbeat.execution.arguments import default_seeds
    from wingbeat.execution.run import run as run_task

    arguments, began = parse.parse_arguments(arg or []), Path.cwd()
    task = parse.load_task(factory, arguments)
    folder = typed(out or folder_for(factory), began)
    if overwrite:
        throw_away(folder)
    with collisions():
        result = run_task(
            task,
            [parse.parse_perturbation(text) for text in perturb] if perturb else None,
            replicas=replicas,
            record_every=record_every,
            metrics=parse.parse_metrics(metric),
            driver=driver,
            dtype=parse.parse_dtype(dtype),
            device=device,
            compiled=compiled,
            seeds=None if seeds is None else default_seeds(seeds),
            out=folder,
            remeasure=cast("Remeasure", remeasure),  # checked where it is used
            factory={"place": factory, "arguments": arguments},
            progress=False if as_json_text or quiet else None,
        )
    page = result.report(folder / "report.html")
    show.answer(result, page, as_json_text=as_json_text, quiet=quiet)


def verify(
    factory: Place,
    arg: Arguments = None,
    steps: Annotated[int | None, typer.Option(help="Updates to make; default at most 50.")] = None,
    every: Annotated[int, typer.Option(help="Steps between digests.")] = 1,
    driver: Driver = "auto",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    write: Annotated[Path | None, typer.Option(help="Leave a trail of digests here.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare with a trail made elsewhere.")
    ] = None,
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Run a task twice, as twins and in another process, and say where bits first differ."""
    from wingbeat.cli.another_process import beside_another
    from wingbeat.execution.verify import verify as verify_task
    from wingbeat.files import strict_json

    arguments, began = parse.parse_arguments(arg or []), Path.cwd()
    task = parse.load_task(factory, arguments)
    write, against = (path and typed(path, began) for path in (write, against))
    found = verify_task(
        task,
        steps=steps,
        every=every,
        driver=driver,
        dtype=parse.parse_dtype(dtype),
        device=device,
        against=against,
        progress=False if as_json_text or quiet else None,
    )
    if found.repeated is None:  # else this process says it already
        with contextlib.chdir(began):
            found = beside_another(found, factory, arguments, steps=steps, every=every)
    if write is not None:
        found.write(write)
    if as_json_text:
        echo(strict_json(found.to_json()))
    elif not quiet:
        show.verification(Console(), found, write)
    if not found.identical:
        raise typer.Exit(1)


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path("runs/demo"),
    quiet: Quiet = False,
) -> None:
    """Analyse two small nets, run the quick study of dynamics, and write the reports."""
    from wingbeat.studies.demo import demo as run_demo

    run_demo(out, say=(lambda _: None) if quiet else echo)
