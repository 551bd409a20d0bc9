"""The study of training dynamics: 21 architectures in three families, nudged at the start.

Every net is trained with copies that start 1 % of each tensor's standard deviation away and see
the same data in the same order. Do the copies end closer together, or farther apart? The
study repeats the article "Random Seeds and Training Trajectories" (rajeshrs.in, 2025) with
coupled noise, several base seeds and intervals. ``python -m wingbeat.zoo.dynamics`` runs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.errors import NOT_RESAMPLED, RequestError, nearest
from wingbeat.metrics.projection import legacy_ratio
from wingbeat.request import default_seeds
from wingbeat.stats import Estimate
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.run import Study, run_study
from wingbeat.study.runner import ProcessRunner, Runner, processors
from wingbeat.zoo.architectures import ARCHITECTURES, FAMILIES, Architecture, Family, source_of

if TYPE_CHECKING:
    from wingbeat.result import Result

METRICS: Final = (
    "l2",
    "spread",
    "spread_projected",
    "local_lyapunov",
    "pca",
    "train_loss",
    "eval_loss",
    "accuracy",
    "disagreement",
)
REPLICAS: Final[dict[str, int]] = {"dense": 7, "cnn": 5, "transformer": 5}
SIZES: Final[dict[str, dict[str, tuple[int, int]]]] = {
    "full": {"dense": (20, 1000), "cnn": (8, 320), "transformer": (8, 192)},
    "quick": {"dense": (5, 1000), "cnn": (4, 320), "transformer": (3, 96)},
}
"""Epochs and training samples of each family."""
SLOW: Final = ("CNN Large", "CNN Deep", "GPT small", "GPT medium", "BERT small", "BERT medium")
"""What the quick study leaves out."""
UNIT_SECONDS: Final[dict[str, float]] = {
    "dense": 5e-6,
    "CNN Tiny": 1.5e-4,
    "CNN Small": 4.1e-4,
    "CNN Medium": 8.2e-4,
    "CNN Large": 1.7e-3,
    "CNN Deep": 9.4e-4,
    "GPT tiny": 3.2e-3,
    "GPT small": 1.7e-2,
    "GPT medium": 5.5e-2,  # not measured: in proportion to the weights of the blocks
}
"""Seconds per sample, epoch and replica on the machine of the published tables, evaluation
included."""
START_SECONDS: Final = 1.5
"""Seconds to prepare one condition there."""
MATRIX_SECONDS: Final = 0.0022
"""Seconds that the matrix product of ``speed`` takes there."""


@dataclass(frozen=True)
class Plan:
    """What was asked of the study.

    Args:
        families: which of "dense", "cnn", "transformer"; empty for all.
        quick: few epochs and samples, without the six most expensive nets.
        seeds: base seeds; None takes 5, or 3 when quick.
        replicas: perturbed copies of each net; None takes 7 for dense nets, 5 for the others.
        perturbation: size of the nudge, as a share of each tensor's standard deviation.
        names: architectures, by name; empty for all of the families.

    Raises:
        RequestError: an unknown family or architecture, or a number out of range.
    """

    families: tuple[str, ...] = ()
    quick: bool = False
    seeds: int | None = None
    replicas: int | None = None
    perturbation: float = 0.01
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for family in self.families:
            if family not in FAMILIES:
                raise RequestError(f"unknown family {family!r}: {nearest(family, FAMILIES)}")
        known = [a.name for a in ARCHITECTURES]
        for name in self.names:
            if name not in known:
                raise RequestError(f"unknown architecture {name!r}: {nearest(name, known)}")
        for field, least in (("seeds", 1), ("replicas", 2)):
            value = getattr(self, field)
            if value is not None and value < least:
                raise RequestError(f"{field} is {value!r}: use at least {least}")

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """The nets, in the order of tables."""
        return tuple(
            a
            for a in ARCHITECTURES
            if (not self.families or a.family in self.families)
            and (not self.names or a.name in self.names)
            and not (self.quick and a.name in SLOW)
        )

    @property
    def base_seeds(self) -> tuple[int, ...]:
        """The base seeds; the first is 0."""
        return default_seeds(self.seeds or (3 if self.quick else 5))

    def copies(self, family: Family) -> int:
        """Return how many perturbed copies each net of a family has."""
        return self.replicas or REPLICAS[family]


def conditions(plan: Plan) -> list[Condition]:
    """Return one condition for each architecture and base seed, the cheapest first.

    Example:
        >>> len(conditions(Plan(families=("dense",), seeds=3)))
        30
    """
    found = [
        _condition(plan, architecture, seed)
        for architecture in plan.architectures
        for seed in plan.base_seeds
    ]
    return sorted(found, key=_units)


def _condition(plan: Plan, architecture: Architecture, seed: int) -> Condition:
    family = architecture.family
    source = source_of(family)
    epochs, samples = SIZES["quick" if plan.quick else "full"][family]
    return Condition(
        factory=architecture.factory,
        arguments={
            **architecture.shape,
            "epochs": epochs,
            "samples": samples,
            "data": source.name,
            "digest": source.digest,
        },
        perturbations=({"kind": "gaussian", "scale": plan.perturbation},),
        replicas=plan.copies(family),
        metrics=METRICS,
        seeds=(seed,),
        # Lock step gains nothing where one replica already fills the processor.
        driver="loop" if family == "transformer" else "lockstep",
        # Not __name__: as a script this module has another.
        measures=("wingbeat.zoo.dynamics:legacy",),
        tags={
            "family": family,
            "group": architecture.group,
            "architecture": architecture.name,
            "size": architecture.size,
            "depth": architecture.depth,
            "parameters": architecture.parameters,
            "seed": seed,
            "data": source.label,
            "stand_in": source.stand_in,
            "quick": plan.quick,
        },
    )


def legacy(result: Result) -> dict[str, dict[str, Any]]:
    """Return the ratio that deep-lyapunov 0.1.2 would print for these trajectories.

    Its copy 0 is unperturbed, so the reference is one of the points. It is computed on
    trajectories with coupled noise, which deep-lyapunov's own are not.
    """
    trajectory = result.trajectory
    keep = [i for i, label in enumerate(trajectory.labels) if label != "null"]
    points = torch.stack(
        [
            torch.cat([t[keep].flatten(1) for t in snapshot.params.values()], dim=1)
            for snapshot in trajectory
        ]
    )
    ratio = legacy_ratio(points)
    return {"legacy_ratio": Estimate(ratio, interval_reason=NOT_RESAMPLED).to_json()}


def run_dynamics(
    plan: Plan,
    out: str | Path,
    *,
    runner: Runner | None = None,
    workers: int | None = None,
    say: Callable[[str], object] = print,
    keep_weights: bool = False,
) -> Study:
    """Run what is left of the study, and say what is happening.

    Args:
        plan: what to run.
        out: folder; the same call again goes on where it stopped.
        runner: who does the work; None starts processes.
        workers: how many processes; None takes one for each processor.
        say: takes each line.
        keep_weights: keep the snapshots (many gigabytes for the large transformers).

    Returns:
        The study with its tables.
    """
    grid = conditions(plan)
    count = workers or processors()
    left = Ledger(Path(out)).left(grid)
    for line in announcement(plan, grid, left, count):
        say(line)
    telling = _Telling(grid, say)
    chosen = runner or ProcessRunner(count)
    return run_study(grid, out, chosen, keep_weights=keep_weights, progress=telling)


def announcement(
    plan: Plan, grid: Sequence[Condition], left: Sequence[Condition], workers: int
) -> list[str]:
    """Return what is said before anything is trained: how much, on what data, for how long."""
    done = len(grid) - len(left)
    already = f", {done} of them done already" if done else ""
    lines = [
        (
            f"{len(plan.architectures)} architectures x {len(plan.base_seeds)} base seeds = "
            f"{len(grid)} conditions{already}"
        )
    ]
    for family in FAMILIES:
        labels = {str(c.tags["data"]) for c in grid if c.tags["family"] == family}
        lines += [f"  {family}: {label}" for label in sorted(labels)]
    if left:
        wall = expected_seconds(left) / min(workers, len(left))
        lines.append(f"expected time with {workers} process(es): about {duration(wall)}")
    return lines


def expected_seconds(left: Sequence[Condition]) -> float:
    """Return the processor time that conditions will take here, from one short measurement."""
    return sum(_units(condition) for condition in left) * speed() / MATRIX_SECONDS


def speed() -> float:
    """Return the seconds of one matrix product on one thread, the best of a few."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, best = torch.ones(512, 512), float("inf")
    for _ in range(8):
        begin = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - begin)
    torch.set_num_threads(threads)
    return best


def _units(condition: Condition) -> float:
    """Return the seconds that a condition takes on the machine of the published tables."""
    name = str(condition.tags["architecture"])
    unit = UNIT_SECONDS.get(name.replace("BERT", "GPT"), UNIT_SECONDS["dense"])
    samples, epochs = int(condition.arguments["samples"]), int(condition.arguments["epochs"])
    return START_SECONDS + unit * samples * epochs * (condition.replicas + 2)


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(40), duration(200), duration(9000)
    ('40 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Telling:
    """Says how each attempt ended, and how long the rest may take."""

    def __init__(self, grid: Sequence[Condition], say: Callable[[str], object]) -> None:
        self.named = {c.key: c for c in grid}
        self.say = say

    def __call__(self, record: Record, ended: int, total: int) -> None:
        condition = self.named[record.key]
        head = (
            f"[{ended}/{total}] {condition.tags['architecture']}, "
            f"base seed {condition.tags['seed']}"
        )
        if record.status == "done":
            self.say(f"{head}: {record.seconds:.1f} s")
        else:
            self.say(f"{head}: {record.status}, {record.error}")


def study_dynamics(
    plan: Plan,
    out: str | Path,
    *,
    workers: int | None = None,
    say: Callable[[str], object] = print,
    command: str = "",
    runner: Runner | None = None,
) -> tuple[Study, Path]:
    """Run what is left of the study and write its tables, summary and page.

    Args:
        plan: what to run.
        out: folder of the study.
        workers: how many processes; None takes one for each processor.
        say: takes each line of the account.
        command: shown on the page; "" writes the one that does the same.
        runner: who does the work; None starts processes.

    Returns:
        The study and the path of its page.
    """
    from wingbeat.zoo.dynamics_report import write_outputs

    study = run_dynamics(plan, out, runner=runner, workers=workers, say=say)
    files = write_outputs(plan, study, command or command_of(plan))
    for record in study.failures:
        say(f"given up: {record.key} ({record.status}, {record.error})")
    say(f"master table: {files.markdown}")
    say(f"report: {files.page}")
    return study, files.page


def command_of(plan: Plan) -> str:
    """Return the command line that runs a plan.

    >>> command_of(Plan(families=("cnn",), seeds=3))
    'wingbeat study dynamics --family cnn --seeds 3'
    """
    words = ["wingbeat study dynamics"]
    words += ["--quick"] * plan.quick
    words += [f"--family {family}" for family in plan.families]
    words += [f"--net '{name}'" for name in plan.names]
    words += [f"--seeds {plan.seeds}"] * (plan.seeds is not None)
    words += [f"--replicas {plan.replicas}"] * (plan.replicas is not None)
    words += [f"--perturbation {plan.perturbation:g}"] * (plan.perturbation != 0.01)
    return " ".join(words)


if __name__ == "__main__":
    from wingbeat.zoo.dynamics_command import main

    main()
