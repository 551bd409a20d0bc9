"""The command of a named study, made from the fields of its plan."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from wingbeat.cli import show_study
from wingbeat.cli.options import Device, Json, Quiet
from wingbeat.cli.parse import make_importable, parse_arguments
from wingbeat.cli.show_study import finished, quiet_or
from wingbeat.study.named import NamedStudy
from wingbeat.study.plan_options import option_name, plan_from
from wingbeat.terminal import Console

REPEATED = "; repeatable."


def command_for(study: NamedStudy) -> Callable[..., None]:
    """Return the function that typer makes the study's command of."""
    dicts = {f.name for f in fields(study.plan) if _is_dict(f)}
    lists = {f.name for f in fields(study.plan) if f.metadata.get("read")}

    def command(
        out: Path,
        workers: int | None,
        device: str,
        compiled: bool,
        keep_weights: bool,
        dry_run: bool,
        probes: int,
        quiet: bool,
        as_json_text: bool,
        **given: Any,
    ) -> None:
        """Run the study; typer shows the study's own help instead."""
        make_importable(Path.cwd())
        for name in dicts:
            given[name] = parse_arguments(given[name] or [])
        for name in lists:
            given[name] = ",".join(given[name]) if given[name] else None
        plan = plan_from(study.plan, given)
        say = quiet_or(quiet or as_json_text)
        if dry_run:
            options = {"workers": workers, "device": device, "probes": probes}
            plan_shown(study, plan, out, options, as_json_text=as_json_text)
            return
        found = study.run(
            plan, out, workers=workers, device=device, compiled=compiled, say=say,
            keep_weights=keep_weights,
        )  # fmt: skip
        finished(found, as_json_text)

    parameters = [*_of_plan(study.plan), *_of_every_study(study)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__name__, command.__doc__ = study.name.replace("-", "_"), study.help
    return command


def plan_shown(
    study: NamedStudy, plan: Any, out: Path, options: dict[str, Any], *, as_json_text: bool
) -> None:
    """Show what a plan would do and cost."""
    say = quiet_or(as_json_text)
    found = study.dry_run(plan, out, say=say, **options)
    if as_json_text:
        show_study.document(found.to_json())
        return
    show_study.plan(Console(), study.name, found)
    if found.left:
        say("what the study reads off each finished condition comes on top")


def _of_every_study(study: NamedStudy) -> list[inspect.Parameter]:
    folder = Annotated[Path, typer.Option(help="Folder of the study.")]
    told = "Processes; default one per processor, one on another device."
    count = Annotated[int | None, typer.Option(help=told)]
    fast = Annotated[bool, typer.Option("--compiled", help="Steps go through torch.compile.")]
    kept = Annotated[bool, typer.Option("--keep-weights", help="Keep the snapshots.")]
    shown = "Show the conditions and what training them would cost."
    dry = Annotated[bool, typer.Option("--dry-run", help=shown)]
    few = "With --dry-run: conditions whose first steps are measured."
    probed = Annotated[int, typer.Option(help=few)]
    return [
        _parameter("out", folder, Path("runs") / study.name),
        _parameter("workers", count, None),
        _parameter("device", Device, "cpu"),
        _parameter("compiled", fast, False),
        _parameter("keep_weights", kept, False),
        _parameter("dry_run", dry, False),
        _parameter("probes", probed, 3),
        _parameter("quiet", Quiet, False),
        _parameter("as_json_text", Json, False),
    ]


def _of_plan(plan: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(plan)
    declared = [f for f in fields(plan) if "help" in f.metadata]
    return [_of_field(f, hints[f.name]) for f in declared]


def _of_field(one: Field[Any], hint: Any) -> inspect.Parameter:
    text, name = str(one.metadata["help"]), f"--{option_name(one)}"
    if "metavar" in one.metadata:
        told = typer.Argument(metavar=one.metadata["metavar"], help=text)
        default = inspect.Parameter.empty if one.default is MISSING else one.default
        return _parameter(one.name, Annotated[hint, told], default)
    if one.metadata.get("read"):
        # A list with commas; who repeats the option gives the same list.
        told = typer.Option(name, help=text)
        return _parameter(one.name, Annotated[list[str] | None, told], None)
    if _is_dict(one) or get_origin(hint) is tuple:
        inner = str if _is_dict(one) else get_args(hint)[0]
        told = typer.Option(name, help=text.rstrip(".") + REPEATED)
        return _parameter(one.name, Annotated[list[inner] | None, told], None)  # type: ignore[valid-type]
    if isinstance(one.default, bool):
        flag = f"{name}/--no-{name[2:]}" if one.default else name
        return _parameter(one.name, Annotated[bool, typer.Option(flag, help=text)], one.default)
    return _parameter(one.name, Annotated[_plain(hint), typer.Option(name, help=text)], one.default)


def _plain(hint: Any) -> Any:
    """Return a type that typer knows: a literal's words are text."""
    parts = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    kinds = [p if isinstance(p, type) else str for p in parts if p is not NoneType]
    return kinds[0] | None if NoneType in parts else kinds[0]


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=hint)


def _is_dict(one: Field[Any]) -> bool:
    return one.default_factory is not MISSING
