"""Run the script of every copy that is not done, by whichever runner."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.arguments import whole_number
from wingbeat.errors import RequestError, RunError
from wingbeat.scripts.script_run import NOT_RUNNABLE, ScriptRun, log_of, mark_of
from wingbeat.scripts.side_by_side import SideBySide
from wingbeat.study.condition import Condition
from wingbeat.study.runner import make_runner
from wingbeat.study.runner.processes import processors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wingbeat.scripts.command import Command
    from wingbeat.study.ledger import Record
    from wingbeat.study.runner import Runner

    AnyRunner = SideBySide | Runner

_LINES = 15
OF_NOTEBOOKS = ("get_ipython", "display")
"""What a notebook defines, and a script that was made of it misses."""
_LOCAL = ("inline", "processes")


@dataclass(frozen=True)
class RunnerChoice:
    """Where copies run.

    Args:
        runner: "inline" (one after the other), "processes" (side by side on this machine), the
            name of another runner of studies as "ray" or "slurm", or a runner.
        jobs: how many run side by side; None: one inline, else what there is room for.
        devices: given to the places on this machine in turn as ``CUDA_VISIBLE_DEVICES``.
        ray_address: of a running Ray cluster.
        resources: what a copy needs, as Ray or Slurm take it.
    """

    runner: str | Runner | None = None
    jobs: int | None = None
    devices: Sequence[str] = ()
    ray_address: str | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)

    def made(self, folder: Path) -> AnyRunner:
        """Return the runner; "slurm" keeps its job files in the folder.

        Raises:
            RequestError: an unknown name, or an option that does not fit it.
        """
        if self.jobs is not None:
            whole_number(self.jobs, "jobs")
        name = self.runner or ("inline" if self.jobs in (None, 1) else "processes")
        if not isinstance(name, str):
            return name
        if name in _LOCAL:
            make_runner(  # refuses what does not belong here
                name, workers=self.jobs, ray_address=self.ray_address, resources=self.resources
            )
            jobs = self.jobs or (1 if name == "inline" else processors())
            return SideBySide(jobs, self.devices)
        if self.devices:
            msg = f"devices are shared out on this machine only: {name!r} is told by resources"
            raise RequestError(f"{msg}, as num_gpus=1 or gpus_per_node=1")
        return make_runner(
            name,
            workers=self.jobs,
            ray_address=self.ray_address,
            resources=self.resources,
            folder=folder,
        )


def run_all(
    command: Command,
    starts: Mapping[str, Path],
    out: Path,
    place: RunnerChoice,
    tick: Callable[[str], None] = lambda _: None,
) -> None:
    """Run the command for every copy that is not done, the first one alone.

    Args:
        command: what to run.
        starts: label → checkpoint to start from; the reference first.
        out: each copy's folder is ``out/label``; its log lies beside it.
        place: where they run.
        tick: called with the label of each copy that is handed out, and which of how many it is.

    Raises:
        RunError: one ended with an error; those that are done are kept.
        RequestError: the program cannot be run.
    """
    whole = out.resolve()
    whole.mkdir(parents=True, exist_ok=True)
    runner, work = place.made(out.parent / "jobs"), ScriptRun(whole, Path.cwd())
    filled = {label: command.filled(p.resolve(), whole / label) for label, p in starts.items()}
    left = [label for label, words in filled.items() if not _done(whole, label, words)]
    first = [label for label in left[:1] if label == next(iter(starts))]
    for labels in (first, left[len(first) :]):  # a command that cannot run fails once
        named = {_condition(label, filled[label]).key: label for label in labels}
        handed = _told({n: _condition(n, filled[n]) for n in labels}, list(filled), tick)
        failed = [r for r in runner.map(work, handed) if r.status != "done"]
        if failed:
            record = min(failed, key=lambda r: labels.index(named[r.key]))
            label = named[record.key]
            raise _error(record, label, whole, filled[label][0])


def _condition(label: str, words: list[str]) -> Condition:
    return Condition("wingbeat.scripts:fork", {"label": label, "command": words})


def _told(
    conditions: Mapping[str, Condition], every: list[str], tick: Callable[[str], None]
) -> Iterator[Condition]:
    for label, condition in conditions.items():
        tick(f"{label}, {every.index(label) + 1} of {len(every)}")
        yield condition


def _done(out: Path, label: str, words: list[str]) -> bool:
    mark = mark_of(out, label)
    return mark.exists() and bool(json.loads(mark.read_text())["command"] == words)


def _error(record: Record, label: str, out: Path, program: str) -> Exception:
    if NOT_RUNNABLE in record.error:
        return RequestError(record.error)
    log = log_of(out, label)
    said = f"{label} ended with {record.error}; the end of {log}:\n{_tail(log)}"
    return RunError(f"{said}{_of_a_notebook(said)}{_other_python(said, program)}")


def _of_a_notebook(said: str) -> str:
    """Say so where a script needs what only a notebook has."""
    if not any(f"NameError: name {name!r} is not defined" in said for name in OF_NOTEBOOKS):
        return ""
    return (
        "\nThe script was made of a notebook: run it by ipython in place of python, or take out "
        "the lines that only a notebook understands"
    )


def _other_python(said: str, program: str) -> str:
    """Say so where a module is missing, and the script's Python is another than this one."""
    found = shutil.which(program)
    if "ModuleNotFoundError" not in said or found is None or "python" not in Path(found).name:
        return ""
    if Path(found).absolute() == Path(sys.executable).absolute():
        return ""
    return (
        f"\n{program!r} is {found} here, and wingbeat runs in {sys.executable}: activate that "
        "environment, or write its path in place of the word"
    )


def _tail(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-_LINES:]) or (
        "    (it wrote nothing)"
    )


def told_of_places(out: Path, labels: Sequence[str]) -> list[str]:
    """Say which copies ran on another kind of machine than the reference, and what was not kept."""
    facts = {label: json.loads(mark_of(out, label).read_text()) for label in labels}
    notes, own = [], facts[labels[0]].get("where", {})
    for label, fact in facts.items():
        there = fact.get("where", {})
        other = [f"{k} {there.get(k)!r}" for k in {**own, **there} if own.get(k) != there.get(k)]
        if other:
            notes.append(
                f"{label} ran with {', '.join(other)}, the reference with another: what that "
                "changes is in its distance and not in the noise floor."
            )
    refused = next((f["not_kept"] for f in facts.values() if f.get("not_kept")), "")
    if refused:
        notes.append(f"Checkpoints that the script deletes again were not kept ({refused}).")
    return notes
