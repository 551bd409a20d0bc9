"""``wingbeat watch DIR``: how far a run or a study is, from its folder alone."""

from __future__ import annotations

import time
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wingbeat.cli.options import existing
from wingbeat.errors import RequestError
from wingbeat.terminal import Console

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from wingbeat.execution.progress_of_run import RunSoFar, RunWatcher


def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run or a study.")],
    seconds: Annotated[float, typer.Option(help="Between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and stop.")] = False,
) -> None:
    """Show how far a run or study is, from its folder alone, until it ends or Ctrl-C."""
    from wingbeat.execution.progress_of_run import RunWatcher

    existing(folder)
    if not seconds > 0:
        raise RequestError(f"--seconds is {seconds:g}: use a number above 0")
    if (folder / "ledger.jsonl").exists():
        _watch_study(folder, seconds, once=once)
        return
    parts = sorted(p for p in folder.glob("seed-*") if (p / "condition.json").exists())
    watchers = [RunWatcher(place) for place in parts or [folder]]
    _follow(lambda: _run(watchers, folder), seconds, once=once)


def _follow(look: Callable[[], tuple[RenderableType, bool]], every: float, *, once: bool) -> None:
    """Show what a look gives, again and again, until it says that there is nothing to come."""
    shown, ended = look()
    console = Console()
    if once or not console.is_terminal:
        console.print(shown)
        return
    with Live(shown, console=console, auto_refresh=False) as live:
        while not ended:
            time.sleep(every)
            shown, ended = look()
            live.update(shown, refresh=True)


def _run(watchers: list[RunWatcher], folder: Path) -> tuple[RenderableType, bool]:
    found = [watcher.look() for watcher in watchers]
    parts = [part for one in found for part in _shown(one)]
    ended = (folder / "summary.json").exists()
    if ended:
        parts.append(Text(f"finished: wingbeat report {folder}"))
    return Group(*parts), ended


def _shown(found: RunSoFar) -> list[RenderableType]:
    loss = f", loss of the reference {found.loss:.4g}" if isfinite(found.loss) else ""
    head = Text(f"{found.name}: step {found.done:,} of {found.total:,}{loss}")
    full = round(40 * found.done / max(1, found.total))
    bar = Text(f"{'━' * full}{'·' * (40 - full)} {found.done / max(1, found.total):.0%}")
    if not found.so_far:
        return [head, bar]
    table = Table(box=None, padding=(0, 3, 0, 0))
    for name in ("perturbation", "distance at first", "now", "last ÷ first"):
        table.add_column(name, justify="left" if name == "perturbation" else "right")
    for one in found.so_far:
        table.add_row(Text(one.name), f"{one.first:.3g}", f"{one.last:.3g}", f"{one.grown:.3g}")
    return [head, bar, table]


def _watch_study(folder: Path, every: float, *, once: bool) -> None:
    def look() -> tuple[RenderableType, bool]:
        said = ", ".join(f"{count} {what}" for what, count in study_counts(folder).items())
        return Text(f"{folder}: {said}"), False

    _follow(look, every, once=once)


def study_counts(folder: Path) -> dict[str, int]:
    """Return how many conditions of a study are done, under way, and have failed attempts."""
    from wingbeat.study.ledger import Ledger

    ledger = Ledger(folder)
    done, last = ledger.done(), {e["key"]: str(e["event"]) for e in ledger.events()}
    others = [event for key, event in last.items() if key not in done]
    return {
        "done": len(done),
        "under way or interrupted": others.count("waiting"),
        "failed": len(others) - others.count("waiting"),
    }
