"""``wingbeat compare A B [C…]``: checkpoints of any size and format, side by side."""

from __future__ import annotations

from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from wingbeat.cli.options import Arguments, Json, Quiet
from wingbeat.cli.parse import load_task, parse_arguments
from wingbeat.cli.show import number, reason_words
from wingbeat.errors import RequestError
from wingbeat.execution.progress import Progress
from wingbeat.terminal import Console, echo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wingbeat.checkpoints import Comparison
    from wingbeat.cli.compare_models import BetweenModels, ComparedLayer

USUAL = "1GiB"
"""What the process may take where nobody says it."""
RESERVE = 128 << 20
"""Bytes kept for what Python and torch take on top of their start and of the buffers."""
_MOST_ROWS = 12


def compare(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C]...",
            help="safetensors (also sharded), .pt, folders; or one pattern: 'run-*/step-*.pt'.",
        ),
    ],
    memory: Annotated[
        str | None, typer.Option(help="Most memory of this process, as 512MiB; default 1GiB.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Where the tensors are inside .pt files that hold more.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Read checksums first, where there are any.")
    ] = True,
    plot: Annotated[Path | None, typer.Option(help="Draw to this file: .png, .svg, .pdf.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the tidy table to this file.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="With a pattern of runs and steps: write a report page.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="Returns a wb.Task: also barriers, alignment and CKA. Loads whole models.",
        ),
    ] = None,
    arg: Arguments = None,
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Compare checkpoints in weight space, streamed: never two whole models in memory."""
    import pandas as pd  # noqa: F401 (before the memory that it takes is measured)

    from wingbeat.checkpoints import compare as compare_checkpoints

    if report is not None:
        _report(checkpoints, report, key, check=check)
    paths, labels, steps, read = _chosen(checkpoints)
    with Progress(False if as_json_text or quiet else None) as bar:
        found = compare_checkpoints(
            paths,
            room(memory),
            labels=labels,
            steps=steps,
            key=key,
            check=check,
            progress=_shown(bar),
        )
    found = replace(found, notes=(*read, *found.notes))
    models = [] if model is None else _models(model, arg, found, key)
    _write(found, models, plot, csv)
    if as_json_text:
        from wingbeat.files import strict_json

        facts = {**found.to_json(), "models": [asdict(m) for m in models]}
        echo(strict_json(facts))
    elif not quiet:
        _show_all(found, models, [path for path in (plot, csv, report) if path is not None])


def _write(
    found: Comparison, models: Sequence[BetweenModels], plot: Path | None, csv: Path | None
) -> None:
    if plot is not None:
        found.plot(plot)
    if csv is not None:
        import pandas as pd

        from wingbeat.checkpoints.csv_safe import write_csv

        rows = [found.table, *(one.rows(found.labels[0]) for one in models)]
        write_csv(pd.concat(rows, ignore_index=True), csv)


def _show_all(found: Comparison, models: Sequence[BetweenModels], written: Sequence[Path]) -> None:
    show(Console(), found)
    for one in models:
        _show_model(Console(), one)
    for path in written:
        Console().print(f"written: {_text(str(path))}", soft_wrap=True, highlight=False)


def room(memory: str | None) -> int:
    """Return how much of a bound on the whole process is left for buffers.

    Args:
        memory: what was asked for. None is the usual bound: a process that holds as much already,
            such as a notebook, gets as much for buffers as is kept besides them.

    Raises:
        RequestError: Python and torch alone take what was asked for.
    """
    from wingbeat.checkpoints.memory import parse_memory, resident, show_memory

    allowed, taken = parse_memory(memory or USUAL), resident()
    if memory is None:
        return max(allowed - taken - RESERVE, RESERVE)
    if allowed <= taken + RESERVE:
        msg = (
            f"--memory {memory}: Python and torch alone take {show_memory(taken)}; "
            f"allow {show_memory(taken + 2 * RESERVE)} or more"
        )
        raise RequestError(msg)
    return allowed - taken - RESERVE


def _chosen(
    words: list[str],
) -> tuple[list[Path], list[str] | None, list[int] | None, tuple[str, ...]]:
    """Return paths, and labels, steps and what was read or dropped where a pattern was given."""
    from wingbeat.checkpoints.open import expanded
    from wingbeat.checkpoints.pattern import find_files, is_pattern, pattern_for

    if len(words) == 1 and not is_pattern(words[0]):
        inside = f": {hint}" if (hint := pattern_for(expanded(words[0]))) else ""
        raise RequestError(f"1 checkpoint was given: a comparison needs two or more{inside}")
    if len(words) != 1:
        return [expanded(word) for word in words], None, None, ()
    found = find_files(words[0])
    keys = [(r, s) for r in found.replicas for s in found.steps]
    labels = [f"{r}@{s}" if r else str(s) for r, s in keys]
    notes = (*([found.read] if found.read else []), *found.dropped)
    return [found.paths[k] for k in keys], labels, [s for _, s in keys], notes


def _report(words: list[str], page: Path, key: str | None, *, check: bool) -> None:
    from wingbeat.checkpoints.pattern import is_pattern

    if len(words) != 1 or not is_pattern(words[0]):
        msg = "--report needs one pattern of runs and steps, as 'run-*/step-*.safetensors'"
        raise RequestError(msg)
    from wingbeat.execution.external import measure_checkpoints
    from wingbeat.trajectory.trajectory import Trajectory

    trajectory = Trajectory.from_checkpoints(words[0], key=key, check=check)
    measure_checkpoints(trajectory).report(page)


def _shown(bar: Progress) -> Callable[[str, int, int], None]:
    from wingbeat.checkpoints.memory import show_memory

    def tick(words: str, done: int, total: int) -> None:
        share = f"{100 * done / total:.0f} %" if total else show_memory(done)
        bar.say(f"{escape(words)} {share}")

    return tick


def _models(
    place: str, arg: Sequence[str] | None, found: Comparison, key: str | None
) -> list[BetweenModels]:
    from wingbeat.cli.compare_models import between

    return between(load_task(place, parse_arguments(arg or ())), found.paths, found.labels, key=key)


def _show_model(console: Console, one: BetweenModels) -> None:
    words = f"barrier of the training loss to {_text(one.label)}: {number(one.barrier)}"
    if one.aligned_barrier is None:
        words += f"; not aligned: {_text(one.reason)}"
    else:
        words += f"; after alignment {number(one.aligned_barrier)}, distance {one.aligned_l2:.6g}"
    console.print(words, highlight=False, soft_wrap=True)
    if not one.layers:
        console.print(f"no CKA: {_text(one.cka_reason)}", highlight=False, soft_wrap=True)
        return
    mean = "undefined" if one.angular_cka is None else f"{one.angular_cka:.6g}"
    console.print(f"representations, mean angular CKA {mean} (0 = the same):", highlight=False)
    angles = sorted(one.layers, key=_turned)
    for layer in angles[:_MOST_ROWS]:
        value = (
            reason_words(layer.reason) if layer.angular_cka is None else f"{layer.angular_cka:.6g}"
        )
        console.print(f"  {value}  {_text(layer.name)}", highlight=False, soft_wrap=True)


def _turned(layer: ComparedLayer) -> float:
    return 1.0 if layer.angular_cka is None else -layer.angular_cka  # the undefined ones last


def show(console: Console, found: Comparison) -> None:
    """Print the comparison for people: checkpoints, then what changed most, then what is left."""
    from wingbeat.checkpoints.memory import show_memory

    table, many = Table(box=None, padding=(0, 2, 0, 0)), len(found.moments.names)
    for head in ("checkpoint", "L2", "relative L2", "cosine"):
        table.add_column(head, overflow="fold")
    for i, label in enumerate(found.labels):
        values = (found.l2[i], found.relative_l2[i], found.cosine[i])
        cells = ["reference"] + [""] * 2 if i == 0 else [_number(v) for v in values]
        table.add_row(_text(label), *cells)
    console.print(table, highlight=False)
    console.print(
        f"{found.parameters:,} numbers in {many} tensor{'s' * (many != 1)}; "
        f"spread {_number(found.spread)}; buffers {show_memory(found.memory)}",
        highlight=False,
    )
    _show_broken(console, found)
    _show_adapters(console, found)
    _show_layers(console, found)
    for why in dict.fromkeys(x.why for x in found.left_out):
        names = [x.name for x in found.left_out if x.why == why]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        listed = ", ".join(map(_text, names[:3]))
        console.print(f"left out, {why}: {listed}{more}", highlight=False)
    for note in found.notes:
        console.print(f"note: {_text(note)}", highlight=False, soft_wrap=True)


def _show_broken(console: Console, found: Comparison) -> None:
    """Print why distances are undefined: which tensor holds a weight that is not finite."""
    from wingbeat.checkpoints.names import few

    apart = found.moments.apart2
    for place, label in enumerate(found.labels):
        if not isfinite(found.l2[place]):
            rows = zip(found.moments.names, apart[:, place], strict=True)
            names = [name for name, value in rows if not isfinite(value)]
            words = f"undefined, {_text(label)}: it or the reference holds weights that are not "
            console.print(f"{words}finite, in {_text(few(names))}", highlight=False)


def _show_adapters(console: Console, found: Comparison) -> None:
    """Print the distances of what low-rank adapters add; their factors alone do not tell."""
    if found.adapters is None:
        return
    rows = zip(found.labels, found.adapters.total, found.adapters.relative, strict=True)
    for label, distance, relative in list(rows)[1:]:
        console.print(
            f"adapters' products B·A in {_text(label)}: L2 {_number(distance)}, relative L2 "
            f"{_number(relative)}",
            highlight=False,
            soft_wrap=True,
        )


def _show_layers(console: Console, found: Comparison) -> None:
    rows = found.table
    own = rows[(rows["metric"] == "relative_l2") & (rows["b"] == found.labels[-1])]
    own = own[(own["layer"] != "") & (own["a"] == found.labels[0]) & own["value"].notna()]
    if not len(own):
        return
    console.print(f"most changed in {_text(found.labels[-1])}, relative L2:", highlight=False)
    for layer, value in own.nlargest(_MOST_ROWS, "value")[["layer", "value"]].to_numpy():
        console.print(f"  {_number(value)}  {_text(layer)}", highlight=False, soft_wrap=True)


def _number(value: float) -> str:
    return f"{value:.6g}" if value == value else "undefined"  # noqa: PLR0124 (NaN)


def _text(text: str) -> str:
    """Return text from outside for a terminal: no markup and no control characters."""
    return escape("".join(c if c.isprintable() else "?" for c in text))
