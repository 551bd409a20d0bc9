"""What the study of training dynamics runs: which nets, how long, and each of its conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wingbeat.errors import RequestError, nearest
from wingbeat.execution.request import default_seeds
from wingbeat.studies.dynamics.cost import usual_seconds
from wingbeat.study.condition import Condition
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
SIZES: Final[dict[str, dict[str, tuple[int, int]]]] = {
    "full": {"dense": (20, 1000), "cnn": (8, 320), "transformer": (8, 192)},
    "quick": {"dense": (5, 1000), "cnn": (4, 320), "transformer": (3, 96)},
}
"""Epochs and training samples of each family."""
SLOW: Final = ("CNN Large", "CNN Deep", "GPT small", "GPT medium", "BERT small", "BERT medium")
"""What the quick study leaves out."""


@dataclass(frozen=True)
class Plan:
    """What was asked of the study.

    Args:
        families: which of "dense", "cnn", "transformer" are run whole.
        quick: few epochs and samples, without the six most expensive nets unless they are named.
        seeds: base seeds; None takes 5, or 3 when quick.
        replicas: perturbed copies of each net; None takes 7 for dense nets, 5 for the others.
        perturbation: size of the nudge, as a share of each tensor's standard deviation.
        names: architectures that are run besides, by name. With neither families nor names: all.

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
        asked = self.families or self.names
        return tuple(
            a
            for a in ARCHITECTURES
            if a.name in self.names
            or ((a.family in self.families or not asked) and not (self.quick and a.name in SLOW))
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
    return sorted(found, key=usual_seconds)


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
        # The base seed draws the nudges too, so that intervals over seeds cover other nudges.
        perturbations=({"kind": "gaussian", "scale": plan.perturbation, "seed": seed},),
        replicas=plan.copies(family),
        record_every="epoch",
        metrics=METRICS,
        seeds=(seed,),
        # Lock step gains nothing where one replica already fills the processor.
        driver="loop" if family == "transformer" else "lockstep",
        # Not __name__: as a script this module has another.
        measures=("wingbeat.studies.dynamics.run:legacy",),
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
