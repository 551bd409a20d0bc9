"""What the study of training dynamics runs: which nets, how long, and each of its conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from wingbeat.errors import RequestError, nearest
from wingbeat.execution.arguments import default_seeds
from wingbeat.report.prose import duration
from wingbeat.studies.dynamics.cost import expected_seconds, usual_seconds
from wingbeat.studies.dynamics.trainings import OF_NETS, TRAININGS, FamilyTraining, Size
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option
from wingbeat.tasks.architectures import ARCHITECTURES, FAMILIES, Architecture, Family, source_of

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
BATCH: Final = 32
"""Samples a step of the dense and the convolutional nets."""
SLOW: Final = ("CNN Large", "CNN Deep", "GPT small", "GPT medium", "BERT small", "BERT medium")
"""What the quick study leaves out."""


@dataclass(frozen=True)
class DynamicsPlan:
    """What was asked of the study; with neither families nor names all nets are run.

    Raises:
        RequestError: an unknown family or architecture, or a number out of range.
    """

    families: tuple[str, ...] = option((), "dense, cnn or transformer, run whole.", "family")
    quick: bool = option(
        False, "Few epochs and samples, without the six most expensive nets unless they are named."
    )
    seeds: int | None = option(None, "Base seeds; default 5, with --quick 3.")
    replicas: int | None = option(None, "Nudged copies; default 7 for dense nets, else 5.")
    perturbation: float = option(
        0.01, "Size of a nudge, in standard deviations of each tensor.", "scale"
    )
    names: tuple[str, ...] = option((), "One more architecture, by name.", "net")
    trained: bool = option(
        False, "Until the nets have learned: all images and sentences. Wants --device cuda."
    )

    def __post_init__(self) -> None:
        if self.quick and self.trained:
            raise RequestError("quick and trained are two sizes: ask for one of them")
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
        asked = self.families or self.names
        return tuple(
            a
            for a in ARCHITECTURES
            if a.name in self.names
            or ((a.family in self.families or not asked) and not (self.quick and a.name in SLOW))
        )

    @property
    def size(self) -> Size:
        """How long nets are trained, by name."""
        return "quick" if self.quick else "trained" if self.trained else "full"

    @property
    def base_seeds(self) -> tuple[int, ...]:
        """The base seeds; the first is 0."""
        return default_seeds(self.seeds or (3 if self.quick else 5))

    def copies(self, family: Family) -> int:
        """Return how many perturbed copies each net of a family has."""
        return self.replicas or REPLICAS[family]


def conditions(plan: DynamicsPlan) -> list[Condition]:
    """Return one condition for each architecture and base seed, the cheapest first.

    Example:
        >>> len(conditions(DynamicsPlan(families=("dense",), seeds=3)))
        30
    """
    found = [
        _condition(plan, architecture, seed)
        for architecture in plan.architectures
        for seed in plan.base_seeds
    ]
    return sorted(found, key=usual_seconds)


def _condition(plan: DynamicsPlan, architecture: Architecture, seed: int) -> Condition:
    family = architecture.family
    source = source_of(family)
    training = TRAININGS[plan.size][family]
    if plan.trained and source.stand_in:
        msg = (
            f"trained means the real data, and {source.label} is what is found for {family} nets: "
            "set WINGBEAT_DATA to a folder that holds them"
        )
        raise RequestError(msg)
    own = OF_NETS.get(architecture.name, {}) if plan.trained else {}
    return Condition(
        factory=architecture.factory,
        arguments={
            **architecture.shape,
            "epochs": training.epochs,
            "samples": training.samples,
            "data": source.name,
            "digest": source.digest,
            **training.further,
            **own,
        },
        # The base seed draws the nudges too, so that intervals over seeds cover other nudges.
        perturbations=({"kind": "gaussian", "scale": plan.perturbation, "seed": seed},),
        replicas=plan.copies(family),
        record_every=_every(training),
        metrics=METRICS,
        seeds=(seed,),
        # Lock step gains nothing where one replica already fills the processor. Convolutional nets
        # of the short runs keep the driver, and the key, that they were published with.
        driver="loop" if family == "transformer" or _fills(plan, family) else "lockstep",
        measures=("wingbeat.studies.dynamics.measure:legacy",),
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
            "trained": plan.trained,
        },
    )


def _every(training: FamilyTraining) -> int | Literal["epoch"]:
    """Return the steps between two looks."""
    if training.looks == 1:
        return "epoch"
    batch = int(training.further.get("batch_size", BATCH))
    return -(-training.samples // batch) // training.looks


def _fills(plan: DynamicsPlan, family: Family) -> bool:
    return plan.trained and family == "cnn"


def placed(condition: Condition, device: str) -> Condition:
    """Return a condition as it is trained on a device: other ones have room for all copies at once.

    >>> [condition] = conditions(DynamicsPlan(names=("3-layer Tiny",), seeds=1))
    >>> placed(condition, "cpu") == condition, placed(condition, "cuda").driver
    (True, 'lockstep')
    """
    if device == "cpu":
        return condition
    return replace(condition, device=device, driver="lockstep")


def announcement(
    plan: DynamicsPlan, grid: Sequence[Condition], left: Sequence[Condition], workers: int
) -> list[str]:
    """Return what is said before anything is trained: how much, on what data, for how long."""
    lines = [f"{len(plan.architectures)} architectures x {len(plan.base_seeds)} base seeds"]
    data = dict.fromkeys((str(c.tags["family"]), str(c.tags["data"])) for c in grid)
    lines += [f"  {family}: {label}" for family, label in data]
    if left and left[0].device == "cpu":  # other devices were not timed
        wall = expected_seconds(left) / min(workers, len(left))
        lines.append(f"expected time with {workers} process(es): about {duration(wall)}")
    return lines
