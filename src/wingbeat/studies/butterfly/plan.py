"""What the spawn-and-perturb study runs: one condition for each base seed and intervention.

All perturbations of a condition are replicas of one run: the reference trains once, and a
replica joins it at its step, so no cell of the grid trains its prefix again.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from wingbeat.errors import RequestError, nearest
from wingbeat.execution.request import default_seeds
from wingbeat.landscape.data import chosen
from wingbeat.replicas.driver_selection import DriverName
from wingbeat.studies.butterfly.grid import (
    HEAD,
    Cell,
    Kind,
    cells,
    check_sizes,
    check_steps,
    check_times,
    parse_value,
)
from wingbeat.study.condition import Condition, named
from wingbeat.study.ledger import Ledger
from wingbeat.task.data import len_of
from wingbeat.task.task import Task
from wingbeat.tasks.from_scratch import FACTORIES, LOOPED, QUICK

STANDARD: Final = "standard"
TASK: Final = "wingbeat.studies.butterfly.plan:limited_task"
SINGLE: Final = Kind("single", (0.01,), (0.0,))
"""One weight at the start, the paper's smallest perturbation."""
MEASURES: Final = ("ensemble", "cka", "l2_aligned", "barrier_aligned")
"""Metrics of a run that the study adds unless told otherwise. Together they cost about what
barriers of all pairs at the end do."""


@dataclass(frozen=True)
class Plan:
    """What to run.

    Args:
        task: a name of ``FACTORIES``, or ``module:factory``.
        arguments: of the factory, JSON.
        budget: passed to the factory as ``budget``; None leaves its default.
        times: shares of training at which replicas fork.
        sizes: magnitudes, relative to initialisation.
        kinds: kinds of perturbation, some perhaps with sizes and times of their own.
        replicas: for each cell of the grid.
        seeds: how many base seeds.
        interventions: passed to the factory as ``intervention``; "standard" is passed on as none,
            and "name=value" as that argument.
        fraction: share of the weights that the kind "fraction" perturbs.
        exclude: regular expression of tensors that are never perturbed; "" for none.
        head: regular expression of the head's tensors, for kinds that are confined to a part.
        eval_samples: most samples of the evaluation data; None for all.
        snapshots: recorded steps besides the start and the forks.
        driver: "lockstep" or "loop"; None takes what suits the task.
        measures: those of ``MEASURES`` that are wanted.
        quick: whether it was made small on purpose.

    Raises:
        RequestError: a value out of range, an unknown task.
    """

    task: str = "cifar-resnet"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    budget: float | None = None
    times: tuple[float, ...] = (0.0, 0.005, 0.02, 0.1, 0.5)
    sizes: tuple[float, ...] = (1e-3, 1e-2, 1e-1)
    kinds: tuple[Kind, ...] = (Kind("batch"), Kind("gaussian"), SINGLE)
    replicas: int = 3
    seeds: int = 3
    interventions: tuple[str, ...] = (STANDARD,)
    fraction: float = 0.01
    exclude: str = "norm|bias"
    head: str = HEAD
    eval_samples: int | None = 1024
    snapshots: int = 4
    driver: DriverName | None = None
    quick: bool = False
    measures: tuple[str, ...] = MEASURES

    def __post_init__(self) -> None:
        check_times(self.times)
        check_sizes(self.sizes)
        for name in ("replicas", "seeds", "snapshots", "eval_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RequestError(f"{name} is {value!r}: give at least 1")
        if not 0 < self.fraction <= 1:
            raise RequestError(f"fraction is {self.fraction!r}: give a share above 0, at most 1")
        if len(set(self.interventions)) < len(self.interventions):
            raise RequestError(f"interventions are {self.interventions}: name each once")
        if not (self.times and self.sizes and self.kinds and self.interventions):
            raise RequestError("times, sizes, kinds and interventions need one value each at least")
        for name in self.measures:
            if name not in MEASURES:
                raise RequestError(f"measure {name!r}: {nearest(name, MEASURES)}")
        if self.task not in FACTORIES and ":" not in self.task:
            msg = f"task {self.task!r} is no built-in one, and no module:factory"
            raise RequestError(f"{msg}; {nearest(self.task, FACTORIES)}")

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The grid."""
        return cells(self.kinds, self.sizes, self.times)

    @property
    def base_seeds(self) -> tuple[int, ...]:
        """The base seeds; the first is 0."""
        return default_seeds(self.seeds)

    @property
    def factory(self) -> str:
        """Where the factory is: ``module:function``."""
        return FACTORIES.get(self.task, self.task)

    def arguments_of(self, intervention: str) -> dict[str, Any]:
        """Return the arguments of the factory under an intervention.

        Raises:
            RequestError: the factory takes no budget, or knows no interventions.
        """
        found = dict(QUICK.get(self.task, {})) if self.quick else {}
        found |= self.arguments
        names, any_name = _accepted(self.factory)
        if self.budget is not None:
            if "budget" not in names and not any_name:
                msg = f"{self.task} takes no budget: set its own length with --arg"
                raise RequestError(f"{msg}; it takes {', '.join(names)}")
            found["budget"] = self.budget
        name, sign, value = intervention.partition("=")
        if sign:
            if name not in names and not any_name:
                msg = f"{self.task} takes no {name!r}, so {intervention!r} cannot be asked for"
                raise RequestError(f"{msg}: {nearest(name, names)}")
            found[name] = parse_value(value)
        elif intervention != STANDARD:
            if "intervention" not in names:
                msg = f"{self.task} takes no intervention, so {intervention!r} cannot be asked for"
                raise RequestError(f"{msg}: it takes {', '.join(names)}")
            found["intervention"] = intervention
        return found


def quick_plan(plan: Plan) -> Plan:
    """Return a plan made small: two times, two sizes, two replicas and two base seeds.

    Example:
        >>> len(quick_plan(Plan("mnist-mlp")).cells)
        5
    """
    return replace(
        plan,
        times=(0.0, 0.5),
        sizes=(1e-2, 1e-1),
        kinds=(Kind("gaussian"), SINGLE),
        replicas=2,
        seeds=2,
        quick=True,
    )


def limited_task(
    factory: str, arguments: Mapping[str, Any], eval_samples: int | None = None
) -> Task:
    """Return a factory's task with at most so many evaluation samples, evenly spaced.

    Raises:
        RequestError: the factory cannot be called so, or gives something else.

    Example:
        >>> task = limited_task(FACTORIES["mnist-mlp"], {"hidden": [8], "samples": 256}, 100)
        >>> len(task.eval_data[0])
        100
    """
    try:
        task = named(factory)(**arguments)
    except TypeError as error:
        msg = f"{factory} cannot be called with {dict(arguments)}: {error}"
        raise RequestError(msg) from error
    if not isinstance(task, Task):
        raise RequestError(f"{factory} gave {type(task).__name__}: return a Task")
    if task.eval_data is None or eval_samples is None or len_of(task.eval_data) <= eval_samples:
        return task
    return replace(task, eval_data=chosen(task.eval_data, eval_samples))


def conditions(plan: Plan) -> list[Condition]:
    """Return one condition for each intervention and base seed.

    Every task is built once, so that nothing wrong is found only after hours.

    Raises:
        RequestError: the plan does not fit the task: its arguments, times that fall on one step,
            or perturbations of which no tensor is left.

    Example:
        >>> arguments = {"hidden": [8], "samples": 512, "epochs": 10}
        >>> plan = Plan("mnist-mlp", arguments, times=(0.0, 0.1, 0.5), seeds=2)
        >>> len(conditions(plan)), len(conditions(plan)[0].perturbations)
        (2, 19)
    """
    return [c for name in plan.interventions for c in _of_intervention(plan, name)]


def _of_intervention(plan: Plan, intervention: str) -> list[Condition]:
    given: dict[str, Any] = {
        "factory": plan.factory,
        "arguments": plan.arguments_of(intervention),
        "eval_samples": plan.eval_samples,
    }
    task = limited_task(**given)
    grid = plan.cells
    check_steps(grid, task.steps)
    found = [
        Condition(
            factory=TASK,
            arguments=given,
            perturbations=tuple(
                cell.perturbation(
                    task.steps, seed, fraction=plan.fraction, exclude=plan.exclude, head=plan.head
                )
                for cell in grid
            ),
            replicas=plan.replicas,
            record_every=max(1, -(-task.steps // plan.snapshots)),
            metrics=_metrics(task, plan.measures),
            seeds=(seed,),
            driver=plan.driver or ("loop" if plan.task in LOOPED else "lockstep"),
            tags={
                "intervention": intervention,
                "seed": seed,
                "task": task.name,
                "length": task.steps,
                "batch": task.batch_size,
                "quick": plan.quick,
            },
        )
        for seed in plan.base_seeds
    ]
    weights = dict(task.model().named_parameters())
    for perturbation in found[0].forks():
        perturbation.check(weights, task.steps)
    return found


def _metrics(task: Task, measures: Sequence[str]) -> tuple[str, ...]:
    outputs = () if task.eval_data is None else ("eval_loss", "accuracy", "disagreement")
    further = (m for m in measures if m != "ensemble" or task.eval_data is not None)
    return ("l2", "train_loss", *outputs, "barrier", *further)


def settled(plan: Plan, folder: Path) -> Plan:
    """Return the plan as a folder was begun: without further measures if it is so far.

    A study begun without them goes on and is drawn without them; nothing is trained again.

    Raises:
        RequestError: the plan does not fit the task.
    """
    grid, bare = conditions(plan), replace(plan, measures=())
    if not (plan.measures and (folder / "records").is_dir()):
        return plan
    done = Ledger(folder).done()
    if any(c.key in done for c in grid):
        return plan
    return bare if any(c.key in done for c in conditions(bare)) else plan


def replica_steps(condition: Condition) -> tuple[int, int]:
    """Return the updates of a condition in one pass, and of each pair trained from scratch.

    The pass trains the reference and its unperturbed twin once and every replica from its fork;
    a pair trains a reference of its own and a replica, the prefix in common.

    Example:
        >>> one = Condition("m:f", perturbations=({"kind": "ulp", "at": 5},), replicas=2,
        ...                 tags={"length": 10})
        >>> replica_steps(one)
        (30, 30)
    """
    length, count = int(condition.tags["length"]), condition.replicas
    rest = [length - int(p["at"]) for p in condition.perturbations]
    return 2 * length + count * sum(rest), count * sum(length + left for left in rest)


def _accepted(place: str) -> tuple[tuple[str, ...], bool]:
    """Return the named parameters of a factory, and whether it takes any others."""
    parameters = inspect.signature(named(place)).parameters.values()
    names = tuple(p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD)
    return names, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
