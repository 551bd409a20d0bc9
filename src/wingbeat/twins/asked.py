"""What a caller of `Twins` asked for, checked before anything is built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wingbeat.errors import RequestError
from wingbeat.execution.arguments import check_seeds
from wingbeat.execution.request import named_apart, usual_record_every
from wingbeat.measure.metric import METRICS, chosen_names, default_names
from wingbeat.replicas.fork import NULL, REFERENCE
from wingbeat.replicas.perturb import Init, Perturbation, StreamChange
from wingbeat.replicas.perturb.batch_gradient import BatchGradient
from wingbeat.replicas.perturb.perturbation import is_count
from wingbeat.task.batches import Streams
from wingbeat.task.describe import code_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wingbeat.measure.metric import Metric

WITHOUT_MODEL = ("weights", "losses")
"""What metrics may need here: the loop knows how to evaluate, we do not."""


@dataclass(frozen=True)
class Elsewhere:
    """What measuring asks of a task, for training that has a loop of its own."""

    seed: int
    steps_per_epoch: int = 1
    eval_metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class CopyPlan:
    """One copy to train: whose, and from which step on it is not the reference.

    One that ``checks`` is a twin which starts from a saved state, beside those that are measured.
    """

    label: str
    at: int = 0
    perturbation: Perturbation | None = None
    number: int = 0

    @property
    def checks(self) -> bool:
        """Whether it only tells how far it came from the reference."""
        return self.perturbation is None and self.at > 0

    def streams(self, seed: int) -> tuple[Streams, Streams]:
        """Return the noise that the copy sees before its fork, and from its fork on."""
        own = Streams.of(seed)
        if isinstance(self.perturbation, StreamChange):
            return own, self.perturbation.of_base(seed).streams(own, self.number)
        return own, own

    def build_seed(self, seed: int) -> int:
        """Return the seed that its parts are built with."""
        if isinstance(self.perturbation, Init):
            return self.perturbation.of_base(seed).init_seed(self.number) % 2**32
        return seed


@dataclass(frozen=True)
class Asked:
    """The request: what `collect` reads of one, and the copies it comes to."""

    perturbations: tuple[Perturbation, ...]
    replicas: int
    steps: int
    record_every: int
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    task: Elsewhere

    @cached_property
    def forks(self) -> tuple[int, ...]:
        """Steps at which copies leave the reference, ascending."""
        return tuple(sorted({p.at for p in self.perturbations}))

    def records(self, step: int) -> bool:
        """Tell whether a step is recorded."""
        return step % self.record_every == 0 or step == self.steps or step in self.forks

    def copies(self) -> list[CopyPlan]:
        """Return all copies of a base seed in the order in which they train.

        Beside the null twin, which is built anew, one starts from each saved state.
        """
        twins = [CopyPlan(NULL), *(CopyPlan(f"{NULL}@{at}", at) for at in self.forks if at)]
        numbers = range(1, self.replicas + 1)
        forked = [
            CopyPlan(f"{p.label}#{i}", p.at, p, i)
            for p in sorted(self.perturbations, key=lambda p: p.at)  # as they join the others
            for i in numbers
        ]
        return [CopyPlan(REFERENCE), *twins, *forked]

    def of_seed(self, seed: int, steps_per_epoch: int) -> Asked:
        """Return the request of one base seed."""
        return replace(self, task=Elsewhere(seed, steps_per_epoch))

    def describe(self, build: Callable[[int], Any]) -> dict[str, Any]:
        """Return the request as JSON; equal requests give equal descriptions."""
        return {
            "loop": "your own",
            "build": code_digest(build),
            "steps": self.steps,
            "perturbations": [p.describe() for p in self.perturbations],
            "replicas": self.replicas,
            "record_every": self.record_every,
            "draws": "of the base seed",
        }


def ask(
    perturbations: Sequence[Perturbation] | Perturbation,
    *,
    steps: int,
    replicas: int,
    record_every: int | None,
    seeds: Sequence[int] | int,
    metrics: Sequence[str | Metric] | None,
) -> Asked:
    """Check the arguments of `Twins`.

    Raises:
        RequestError: one is wrong; the message names it and says what to do.
    """
    given = [perturbations] if isinstance(perturbations, Perturbation) else list(perturbations)
    for perturbation in given:
        _check_perturbation(perturbation)
    counts = {"steps": steps, "replicas": replicas, "record_every": record_every or 1}
    for name, value in counts.items():
        if not is_count(value, 1):
            raise RequestError(f"{name} is {value!r}: use a whole number of at least 1")
    weights = [name for name in default_names() if METRICS.find(name).needs in WITHOUT_MODEL]
    wanted = chosen_names(weights if metrics is None else metrics)
    for name in wanted:
        if METRICS.find(name).needs not in WITHOUT_MODEL:
            advice = "what your loop evaluates goes into twins.result(evaluate=...)"
            raise RequestError(f"metric {name!r} needs a wb.Task to run the model: {advice}")
    chosen = check_seeds(seeds)
    assert chosen is not None
    return Asked(
        named_apart(given),
        replicas,
        steps,
        record_every or usual_record_every(steps),
        chosen,
        wanted,
        Elsewhere(chosen[0]),
    )


def _check_perturbation(perturbation: object) -> None:
    if not isinstance(perturbation, Perturbation):
        found = type(perturbation).__name__
        msg = f"perturbations holds a {found}: pass perturbations such as wb.Gaussian(0.01)"
        raise RequestError(msg)
    if isinstance(perturbation, BatchGradient):
        advice = "use wb.Gaussian or wb.SingleWeight, or describe the training as a wb.Task"
        msg = f"{perturbation.label} needs the loss as a function, which a loop keeps to itself"
        raise RequestError(f"{msg}: {advice}")
