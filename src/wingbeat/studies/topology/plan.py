"""What the study of topology runs: the nets of the study of dynamics, trained exactly as there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from wingbeat.metrics.persistence import gudhi
from wingbeat.studies.dynamics.plan import DynamicsPlan
from wingbeat.studies.dynamics.plan import announcement as announced
from wingbeat.studies.dynamics.plan import conditions as dynamics_conditions
from wingbeat.study.plan_options import option
from wingbeat.tasks.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.study.condition import Condition

METRICS: Final = ("l2", "spread", "train_loss", "accuracy")
LARGE: Final = ("GPT small", "GPT medium", "BERT small", "BERT medium")
"""Left out unless they are named: one base seed of one takes minutes."""
QUICK: Final = (
    "3-layer Small", "3-layer XLarge", "5-layer Medium", "5-layer XLarge", "CNN Tiny", "GPT tiny",
)  # fmt: skip


@dataclass(frozen=True)
class TopologyPlan:
    """What was asked of the study; with neither families nor names, all nets but the largest.

    Raises:
        RequestError: an unknown family or architecture, a number out of range, or the package
            gudhi is not installed.
    """

    families: tuple[str, ...] = option((), "dense, cnn or transformer, run whole.", "family")
    names: tuple[str, ...] = option((), "One more architecture, by name.", "net")
    quick: bool = option(False, "Six small nets, few epochs and samples.")
    seeds: int | None = option(None, "Base seeds; default 5, with --quick 3.")
    replicas: int | None = option(None, "Nudged copies; default 7 for dense nets, else 5.")
    trained: bool = option(
        False,
        "Until the nets have learned, as there, and with all that is measured there: one training "
        "serves both studies.",
    )

    def __post_init__(self) -> None:
        gudhi("sklearn.rips_persistence")
        self.dynamics  # noqa: B018  (which checks what was asked)

    @property
    def dynamics(self) -> DynamicsPlan:
        """The same plan as the study of dynamics knows it."""
        names = self.names
        if not (names or self.families):
            usual = tuple(a.name for a in ARCHITECTURES if a.name not in LARGE)
            names = QUICK if self.quick else usual
        return DynamicsPlan(
            families=self.families,
            names=names,
            quick=self.quick,
            trained=self.trained,
            seeds=self.seeds,
            replicas=self.replicas,
        )


def conditions(plan: TopologyPlan) -> list[Condition]:
    """Return one condition for each architecture and base seed, the cheapest first.

    Example:
        >>> len(conditions(TopologyPlan(families=("dense",), seeds=3)))  # doctest: +SKIP
        30
    """
    measure = "wingbeat.studies.topology.measure:topology"
    found = dynamics_conditions(plan.dynamics)
    if plan.trained:  # so dear that what the other study measures is measured on the same nets
        return [replace(c, measures=(*c.measures, measure)) for c in found]
    return [replace(c, metrics=METRICS, measures=(measure,)) for c in found]


def announcement(
    plan: TopologyPlan, grid: Sequence[Condition], left: Sequence[Condition], workers: int
) -> list[str]:
    """Return what is said before anything is trained: how much, on what data, for how long."""
    return announced(plan.dynamics, grid, left, workers)
