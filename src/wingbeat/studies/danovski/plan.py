"""What the study of Danovski, Soriano and Lacasa runs: one condition for each measurement."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Final, Literal, get_args

from wingbeat.errors import RequestError, nearest
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option
from wingbeat.tasks.iris import iris_task

if TYPE_CHECKING:
    from wingbeat.task.task import Task

Experiment = Literal["nmle", "renormalised", "orbit", "weights", "series", "accuracy"]
EPSILONS: Final = tuple(float(f"1e-{power}") for power in range(14, 0, -1))
ETAS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0)
SHARE: Final = 0.9
"""Test accuracy whose time is taken."""
LENGTH: Final = 200
"""Updates of an nMLE."""
ANCHOR_STEPS: Final = 40
ANCHOR_EVERY: Final = 5
FACTORY: Final = "wingbeat.studies.danovski.plan:danovski_task"
MEASURE: Final = "wingbeat.studies.danovski.measure:measure"


@dataclass(frozen=True)
class DanovskiOptions:
    """One measurement over many initialisations.

    Args:
        experiment: which.
        eta: learning rate.
        inits: initialisations, seeds 0, 1, ….
        steps: updates.
        epsilon: size of the nudges; 0 where there are none.
        perturbations: nudges for each initialisation.
        late: update at which the later part begins.

    Raises:
        RequestError: an unknown experiment, or a number out of range.
    """

    experiment: Experiment
    eta: float
    inits: int
    steps: int
    epsilon: float = 0.0
    perturbations: int = 0
    late: int = 0

    def __post_init__(self) -> None:
        known = get_args(Experiment)
        if self.experiment not in known:
            raise RequestError(f"experiment {self.experiment!r}: {nearest(self.experiment, known)}")
        nudged = self.experiment in ("nmle", "orbit", "accuracy")
        least = {"inits": 1, "steps": 1, "perturbations": 1 if nudged else 0, "late": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise RequestError(f"{name} is {getattr(self, name)!r}: give at least {bound}")
        if self.late and not self.late < self.steps:
            raise RequestError(f"late is {self.late} of {self.steps} updates: begin before the end")
        if nudged and not (isfinite(self.epsilon) and self.epsilon > 0):
            raise RequestError(f"epsilon is {self.epsilon!r}: give a size above 0, such as 1e-8")


def danovski_task(
    experiment: Experiment,
    eta: float,
    inits: int,
    steps: int,
    epsilon: float = 0.0,
    perturbations: int = 0,
    late: int = 0,
) -> Task:
    """Return the task that the engine trains beside a measurement: 40 updates of one net.

    The measurement itself uses the same map for many nets at once (`wingbeat.tasks.iris.IrisMap`)
    and is compared with this run first. The options are arguments here so that they are part of
    what the condition asks for, and so of its key.

    Raises:
        RequestError: an option out of range.

    Example:
        >>> danovski_task("nmle", 1.0, 200, 200, epsilon=1e-8, perturbations=5).steps
        40
    """
    DanovskiOptions(experiment, eta, inits, steps, epsilon, perturbations, late)
    return iris_task(eta, ANCHOR_STEPS)


@dataclass(frozen=True)
class DanovskiPlan:
    """What was asked of the study. The paper has 500 initialisations.

    Raises:
        RequestError: fewer than three initialisations.
    """

    quick: bool = option(False, "Few initialisations and short runs, in under two minutes.")
    inits: int | None = option(None, "Initialisations of each nMLE; default 200, with --quick 60.")

    def __post_init__(self) -> None:
        if self.inits is not None and self.inits < 3:
            raise RequestError(f"inits is {self.inits}: give at least 3, for intervals")

    @property
    def count(self) -> int:
        """Initialisations of each nMLE."""
        return self.inits or (60 if self.quick else 200)

    @property
    def options(self) -> list[DanovskiOptions]:
        """Every measurement, in the order of the page."""
        return _quick(self.count) if self.quick else _full(self.count)


def conditions(plan: DanovskiPlan) -> list[Condition]:
    """Return one condition for each measurement.

    >>> len({c.key for c in conditions(DanovskiPlan(quick=True))})
    19
    """
    return [condition(options) for options in plan.options]


def condition(options: DanovskiOptions) -> Condition:
    """Return the condition of one measurement."""
    nudge = {"kind": "gaussian", "scale": 1e-6, "relative_to": "absolute", "include": "weight"}
    return Condition(
        factory=FACTORY,
        arguments=asdict(options),
        perturbations=(nudge,),
        replicas=2,
        record_every=ANCHOR_EVERY,
        metrics=("l2",),
        dtype="float64",
        measures=(MEASURE,),
        tags={"experiment": options.experiment, "eta": options.eta, "epsilon": options.epsilon},
    )


def size_text(epsilon: float) -> str:
    """Return the size of a nudge as text.

    >>> size_text(1e-8)
    '1e-8'
    """
    return f"{epsilon:g}".replace("e-0", "e-")


def _nmle(inits: int, eta: float, epsilon: float) -> DanovskiOptions:
    return DanovskiOptions("nmle", eta, inits, LENGTH, epsilon, 5)


def _full(inits: int) -> list[DanovskiOptions]:
    found = [_nmle(inits, 1.0, epsilon) for epsilon in EPSILONS]
    found += [_nmle(inits, eta, epsilon) for eta in (0.01, 5.0) for epsilon in (1e-8, 1e-4)]
    found += [DanovskiOptions("renormalised", eta, 100, 5000, late=1000) for eta in (0.01, 1.0)]
    found.append(DanovskiOptions("renormalised", 5.0, 20, 10_000, late=5000))
    found += [DanovskiOptions("orbit", 0.01, 10, 5000, e, 10, 4000) for e in (1e-12, 1e-8, 1e-4)]
    found.append(DanovskiOptions("orbit", 1.0, 10, 5000, 1e-8, 10, 4000))
    found += [DanovskiOptions("weights", eta, 10, 5000) for eta in (0.01, 1.0)]
    found.append(DanovskiOptions("series", 5.0, 20, 45_000, late=2700))
    found += [DanovskiOptions("series", eta, 20, 10_000, late=2700) for eta in (2.0, 3.0, 10.0)]
    return found + [DanovskiOptions("accuracy", eta, 100, 2000, 1e-8, 3) for eta in ETAS]


def _quick(inits: int) -> list[DanovskiOptions]:
    found = [_nmle(inits, 1.0, epsilon) for epsilon in (1e-12, 1e-8, 1e-4, 1e-2)]
    found += [_nmle(inits, eta, 1e-8) for eta in (0.01, 5.0)]
    found += [DanovskiOptions("renormalised", eta, 20, 1000, late=500) for eta in (0.01, 1.0, 5.0)]
    found += [DanovskiOptions("orbit", 0.01, 4, 1000, e, 4, 800) for e in (1e-8, 1e-4)]
    found.append(DanovskiOptions("weights", 0.01, 10, 1000))
    found.append(DanovskiOptions("series", 5.0, 8, 8000, late=2700))
    etas = (0.01, 0.1, 0.5, 1.0, 2.0, 5.0)
    return found + [DanovskiOptions("accuracy", eta, 30, 500, 1e-8, 3) for eta in etas]
