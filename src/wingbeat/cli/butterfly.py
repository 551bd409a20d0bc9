"""``wingbeat study butterfly``: perturb training at some time, and see where it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from wingbeat.cli.parse import make_importable, parse_arguments
from wingbeat.errors import RequestError, WingbeatError
from wingbeat.replicas.driver_selection import DriverName
from wingbeat.studies.butterfly.grid import HEAD, confined, parse_kinds, parse_numbers
from wingbeat.studies.butterfly.plan import MEASURES, Plan, quick_plan
from wingbeat.studies.butterfly.run import study_butterfly


def butterfly(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="MODULE:FACTORY, or cifar-resnet, cifar-vit, mnist-mlp, shakespeare-gpt, "
            "sst2-minilm, gsm8k-lm.",
        ),
    ] = "cifar-resnet",
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/butterfly"),
    quick: Annotated[bool, typer.Option("--quick", help="A small grid in about a minute.")] = False,
    budget: Annotated[float | None, typer.Option(help="Share of the paper's 20,000 steps.")] = None,
    times: Annotated[
        str | None, typer.Option(help="Shares of training, as 0,0.005,0.02,0.1,0.5.")
    ] = None,
    scales: Annotated[
        str | None, typer.Option(help="Sizes relative to initialisation, as 1e-3,1e-2,1e-1.")
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(help="batch, gaussian, single, fraction, ulp; KIND:SIZE/SIZE@TIME/TIME."),
    ] = None,
    replicas: Annotated[int | None, typer.Option(help="For each cell; default 3.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Base seeds; default 3.")] = None,
    intervention: Annotated[
        list[str] | None, typer.Option(help="Such as 'long warm-up'; may be repeated.")
    ] = None,
    arg: Annotated[
        list[str] | None, typer.Option("--arg", help="name=value of the task; may be repeated.")
    ] = None,
    fraction: Annotated[
        float, typer.Option(help="Share of the weights that the kind fraction perturbs.")
    ] = 0.01,
    exclude: Annotated[
        str, typer.Option(help="Regular expression of tensors that are left alone; '' for none.")
    ] = "norm|bias",
    where: Annotated[
        str, typer.Option(help="Of both, body, head: the part of the model that is perturbed.")
    ] = "both",
    head: Annotated[str, typer.Option(help="Regular expression of the head's tensors.")] = HEAD,
    eval_samples: Annotated[
        int, typer.Option(help="Most samples of the evaluation data; 0 for all.")
    ] = 1024,
    snapshots: Annotated[int, typer.Option(help="Recorded steps besides the forks.")] = 4,
    driver: Annotated[str | None, typer.Option(help="lockstep or loop.")] = None,
    measures: Annotated[
        str, typer.Option(help="Of ensemble, cka, l2_aligned, barrier_aligned; or none.")
    ] = ",".join(MEASURES),
    workers: Annotated[int | None, typer.Option(help="Processes; default one a processor.")] = None,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Keep snapshots.")] = False,
    as_json_text: Annotated[
        bool, typer.Option("--json", help="Print summary.json and nothing else.")
    ] = False,
) -> None:
    """From when on does a small change of the weights no longer lead to another basin?"""
    plan = Plan(
        task,
        parse_arguments(arg or []),
        budget,
        fraction=fraction,
        exclude=exclude,
        head=head,
        eval_samples=eval_samples or None,
        snapshots=snapshots,
        driver=_driver(driver),
        measures=() if measures == "none" else tuple(filter(None, measures.split(","))),
    )
    plan = quick_plan(plan) if quick else plan
    given: dict[str, Any] = {
        "times": None if times is None else parse_numbers(times, "times"),
        "sizes": None if scales is None else parse_numbers(scales, "scales"),
        "kinds": None if kinds is None else parse_kinds(kinds),
        "replicas": replicas,
        "seeds": seeds,
        "interventions": tuple(intervention) if intervention else None,
    }
    plan = replace(plan, **{name: value for name, value in given.items() if value is not None})
    plan = replace(plan, kinds=confined(plan.kinds, [w for w in where.split(",") if w]))
    make_importable(Path.cwd())
    say = (lambda _: None) if as_json_text else typer.echo
    study, _ = study_butterfly(plan, out, workers=workers, say=say, keep_weights=keep_weights)
    if as_json_text:
        found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
    if study.failures:
        raise typer.Exit(1)


def _driver(text: str | None) -> DriverName | None:
    if text in (None, "lockstep", "loop"):
        return text  # type: ignore[return-value]
    raise RequestError(f"driver is {text!r}: use lockstep or loop, which give the same bits again")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study from a command line of its own: ``python -m wingbeat.cli.butterfly``.

    Exit codes: 0 done, 1 a condition failed, 2 the request was wrong.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(butterfly)
    try:
        app(arguments)
    except WingbeatError as error:
        typer.echo(f"wingbeat: {error}", err=True)
        sys.exit(2 if isinstance(error, RequestError) else 1)


if __name__ == "__main__":
    main()
