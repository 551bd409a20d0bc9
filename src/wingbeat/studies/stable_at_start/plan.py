"""What the study of stable settings runs: landmarks, the rounds of a search, its frontier again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from wingbeat.errors import RequestError
from wingbeat.studies.stable_at_start.settings import LANDMARKS, Setting, proposed
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option
from wingbeat.study.search import library, replay

FRESH: Final = 1000
"""First base seed of the runs that judge: none of them is one that the search has seen."""
SEARCH, CHOSEN, LANDMARK = "search", "chosen", "landmark"


@dataclass(frozen=True)
class StablePlan:
    """What was asked of the study.

    Raises:
        RequestError: a number out of range.
    """

    trials: int = option(72, "Settings that the search tries, with base seed 0.")
    round: int = option(18, "Trials that are proposed before the first of them is known.")
    search_seed: int = option(0, "Seed of Optuna's sampler.")
    chosen: int = option(5, "Settings of its frontier that are run again, at most.")
    floor: float = option(0.9, "Accuracy on unseen images below which a net has not learned.")
    depth: int = option(6, "Hidden layers.")
    epochs: int = option(5, "Passes over the images.")
    samples: int | None = option(None, "Training images; default all.")
    scale: float = option(0.01, "Nudge, in deviations of each tensor.")
    replicas: int = option(2, "Copies that are nudged, and as many with another batch order.")
    seeds: int = option(5, "Base seeds of the runs that judge, from 1000 on.")

    def __post_init__(self) -> None:
        if min(self.trials, self.round, self.replicas, self.seeds, self.depth) < 1:
            raise RequestError(
                f"trials {self.trials}, round {self.round}, replicas {self.replicas}, seeds "
                f"{self.seeds}, depth {self.depth}: use 1 at least of each"
            )
        if self.chosen < 2 or not 0 < self.floor < 1 or not self.scale > 0:
            raise RequestError(
                f"chosen {self.chosen}, floor {self.floor}, scale {self.scale}: use two settings "
                "or more, a share and a positive size"
            )

    @property
    def nudges(self) -> tuple[dict[str, Any], ...]:
        """Noise on the initial weights, and another order of the batches, both from the start."""
        return (
            {"kind": "gaussian", "scale": self.scale, "at": 0},
            {"kind": "order", "at": 0},
        )


def fresh_study(plan: StablePlan) -> Any:
    """Return a study of Optuna without trials: barrier down, accuracy up.

    Its sampler looks around for two rounds first. (NSGA-II of Optuna 5.0 did not propose the
    same trials when it was asked again, seed or not.)
    """
    optuna = library()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=2 * plan.round, constant_liar=True, seed=plan.search_seed
    )
    return optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)


def trial_condition(plan: StablePlan, trial: Any) -> Condition:
    """Return the condition of one trial."""
    return condition_of(plan, proposed(trial), SEARCH, f"trial {trial.number}", 0)


def conditions(plan: StablePlan) -> list[Condition]:
    """Return the landmarks with every base seed, and the first round of the search.

    Example:
        >>> len(conditions(StablePlan())), len(conditions(StablePlan(round=4, seeds=2)))
        (48, 16)
    """
    known = [
        condition_of(plan, setting, LANDMARK, name, FRESH + seed)
        for name, setting in LANDMARKS.items()
        for seed in range(plan.seeds)
    ]
    first = replay(
        fresh_study(plan),
        lambda trial: trial_condition(plan, trial),
        lambda _: None,
        trials=plan.trials,
        batch=plan.round,
    )
    return [*first, *known]


def condition_of(plan: StablePlan, setting: Setting, phase: str, name: str, seed: int) -> Condition:
    """Return the condition of one setting and base seed."""
    asked = {"depth": plan.depth, "epochs": plan.epochs, "samples": plan.samples, **setting}
    return Condition(
        factory="wingbeat.tasks.settings:settings_task",
        arguments=asked,
        perturbations=plan.nudges,
        replicas=plan.replicas,
        record_every=10**9,  # the start and the end: nothing between them is read
        metrics=("l2", "train_loss", "accuracy", "disagreement", "barrier", "barrier_aligned"),
        seeds=(seed,),
        measures=("wingbeat.studies.stable_at_start.measure:stability",),
        tags={"phase": phase, "setting": name, "seed": seed},
    )


def announced(
    plan: StablePlan, _: Sequence[Condition], __: Sequence[Condition], ___: int
) -> list[str]:
    """Say that more conditions follow from what these give."""
    return [
        (
            f"a search: {plan.trials} trials in rounds of {plan.round}, then up to {plan.chosen} "
            f"settings of its frontier with {plan.seeds} base seeds that it has not seen"
        )
    ]
