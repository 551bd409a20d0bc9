"""Fork an unchanged training script from one of its checkpoints, and measure how copies part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wingbeat.errors import RequestError
from wingbeat.execution.external import measure_checkpoints
from wingbeat.execution.progress import Progress
from wingbeat.execution.result import load, write_files
from wingbeat.locks import holding
from wingbeat.replicas.fork import NULL, REFERENCE
from wingbeat.replicas.perturb import Perturbation
from wingbeat.scripts.agree import agree, digests
from wingbeat.scripts.collect import collected
from wingbeat.scripts.command import Command
from wingbeat.scripts.nudge import REALISED, nudge
from wingbeat.scripts.runs import RunnerChoice, run_all, told_of_places
from wingbeat.trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wingbeat.execution.result import Result
    from wingbeat.measure.metric import Metric
    from wingbeat.scripts.nudge import Nudged
    from wingbeat.study.runner import Runner


_BY_THE_SCRIPT: Final = {
    "driver": "script",
    "mode": "unchanged",
    "driver_reason": "it was run as it is, once from each checkpoint, and what it wrote was read",
}
"""How a fork was executed."""


def fork(
    checkpoint: str | Path,
    perturbations: Sequence[Perturbation] | Perturbation,
    command: Sequence[str],
    out: str | Path,
    *,
    replicas: int = 3,
    seed: int = 0,
    pattern: str | None = None,
    key: str | None = None,
    metrics: Sequence[str | Metric] | None = None,
    jobs: int | None = None,
    devices: Sequence[str] = (),
    runner: str | Runner | None = None,
    ray_address: str | None = None,
    resources: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Result:
    """Run a training script from nudged copies of a checkpoint, and measure how they part.

    The script runs once from the checkpoint itself (the reference), once from an untouched copy
    (the twin: does this script repeat itself?), and once from each nudged copy, everything else
    alike. A second call skips what is done; a copy that was stopped half way begins anew. Scripts
    end when this call does, killed or not. Checkpoints that a script deletes again are kept.

    Args:
        checkpoint: file or folder to fork from, in any format that `compare` reads.
        perturbations: those that change weights.
        command: the words of the command; ``{checkpoint}`` and ``{out}`` stand for the copy's
            checkpoint and the folder that it writes to.
        out: folder of the whole: ``starts/``, ``runs/<label>/`` and a log for each, the result.
        replicas: nudged copies for each perturbation.
        seed: base seed of the nudges.
        pattern: how the script names its checkpoints below ``{out}``, as "checkpoint-{step}";
            by default the usual names are tried, and at last a single checkpoint without a step.
        key: where the weights are inside ``.pt`` files that hold several groups.
        metrics: names of metrics that need weights only; default: all of them.
        jobs: how many copies run side by side; None: one on this machine, elsewhere as many as
            there is room for.
        devices: given to the jobs on this machine in turn as ``CUDA_VISIBLE_DEVICES``.
        runner: "inline", "processes" (side by side on this machine), "ray", "slurm", another
            runner of studies by name, or a `wingbeat.study.Runner`. ``out`` and the script must be
            on a disk that its machines see.
        ray_address: of a running Ray cluster.
        resources: what a copy needs: ``{"num_gpus": 1}`` for Ray, ``{"timeout_min": 240}`` for
            Slurm, whose jobs must have time for a whole copy.
        progress: show which copy runs; None shows it on a terminal.

    Returns:
        A result as of `measure_checkpoints`, with the twin's noise floor; it is in ``out`` too.

    Raises:
        RequestError: the command names no ``{checkpoint}`` or ``{out}``, a perturbation needs
            training, or nothing can be nudged; no process was started.
        RunError: the script failed, or wrote no checkpoint that can be found; the end of its log
            is in the message, and what is done is kept.
        StoreError: ``out`` holds copies of another request, or of a checkpoint, script or settings
            that have changed since, or is in use by another call.
    """
    asked = Command(tuple(command))
    given = [perturbations] if isinstance(perturbations, Perturbation) else list(perturbations)
    if any(p.at for p in given):
        raise RequestError("the checkpoint says when it is forked: leave out the step (@step, at=)")
    folder, origin = Path(out), Path(checkpoint)
    place = RunnerChoice(runner, jobs, tuple(devices), ray_address, dict(resources or {}))
    place.made(folder / "jobs")  # refused before anything is copied
    folder.mkdir(parents=True, exist_ok=True)
    with Progress(progress) as bar, holding(folder):
        request = _asked(asked, given, replicas, seed, origin, key)
        agree(folder, request, "runs/*.done.json", digests(origin, command))
        copies = nudge(origin, given, folder / "starts", replicas=replicas, seed=seed, key=key)
        starts = {REFERENCE: origin, **{copy.label: copy.path for copy in copies}}
        run_all(asked, starts, folder / "runs", place, bar.say)
        bar.say("measuring")
        told = collected(starts, folder / "runs", folder / "view", pattern, key)
        notes = told.warnings + told_of_places(folder / "runs", list(starts))
        view = f"{folder / 'view'}/{{replica}}/step-{{step}}"
        trajectory = Trajectory.from_checkpoints(view, reference=REFERENCE, null=NULL, key=key)
        result = measure_checkpoints(trajectory, metrics)
    notes += [f"{c.label} moved no weight: rounding swallowed it" for c in copies[1:] if not c.l2]
    notes += [*_ignored(result), *said_of_twin(result)]
    result = replace(
        result,
        warnings=(*result.warnings, *notes),
        environment={**result.environment, **_BY_THE_SCRIPT},
        condition=_with_command(result.condition, asked, origin, told.reading),
        perturbations=described(result, copies, f"see starts/{REALISED}"),
        folder=folder,
    )
    write_files(result, folder)
    return load(folder)


def _asked(
    command: Command,
    perturbations: Sequence[Perturbation],
    replicas: int,
    seed: int,
    origin: Path,
    key: str | None,
) -> dict[str, Any]:
    return {
        "command": list(command.words),
        "perturbations": [p.describe() for p in perturbations],
        "replicas": replicas,
        "seed": seed,
        "checkpoint": str(origin.resolve()),
        "key": key,
    }


def _with_command(
    condition: Mapping[str, Any], command: Command, origin: Path, reading: Sequence[str]
) -> dict[str, Any]:
    """Return what was measured together with what was run."""
    run = {"script": command.script, "from": origin.name, "command": " ".join(command.words)}
    read = [*condition.get("reading", ()), *reading]
    return {"fork": run, **condition, **({"reading": read} if read else {})}


def described(result: Result, copies: Sequence[Nudged], where: str) -> list[dict[str, Any]]:
    """Return the perturbations of a result with what became of them in each copy."""
    known = {copy.label: copy for copy in copies}
    out = []
    for one in result.perturbations:
        own = [c for label, c in known.items() if label.rsplit("#", 1)[0] == one["name"]]
        realised = {"l2": [c.l2 for c in own], "changed": [c.changed for c in own]}
        out.append({**one, "realised": realised, "description": where})
    return out


def _ignored(result: Result) -> list[str]:
    """Say so where no copy differs from the reference once the script has run."""
    last = result.table[(result.table["metric"] == "l2") & (result.table["layer"] == "")]
    last = last[(last["step"] == last["step"].max()) & (last["b"] != NULL)]
    if not len(last) or float(last["value"].max()) > 0.0:
        return []
    note = (
        "No copy differs from the reference at the end: the script seems to ignore the checkpoint "
        "that it is given."
    )
    return [note]


def said_of_twin(result: Result) -> list[str]:
    """Say since when, and first in which tensors, the twin differs from the reference."""
    rows = result.table[(result.table["metric"] == "l2") & (result.table["b"] == NULL)]
    apart = rows[(rows["layer"] != "") & (rows["value"] > 0.0)]
    if not len(apart):
        return []
    step = int(apart["step"].min())
    names = list(dict.fromkeys(apart["layer"][apart["step"] == step]))
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    first = ", ".join(map(repr, names[:2]))
    note = (
        f"This training does not repeat itself here: its unperturbed twin differs at step {step}, "
        f"in {first}{more}. Distances up to {result.noise_floor:.3g} are noise."
    )
    return [note]
