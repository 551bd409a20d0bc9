"""What the spawn-and-perturb study runs: one condition for each base seed and intervention.

All perturbations of a condition are replicas of one run: the reference trains once, and a
replica joins it at its step, so no cell of the grid trains its prefix again.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from wingbeat.errors import RequestError, nearest
from wingbeat.execution.arguments import default_seeds
from wingbeat.landscape.data import select_samples
from wingbeat.replicas.drivers.selection import DriverName
from wingbeat.studies.butterfly.grid import (
    HEAD,
    Cell,
    GridKind,
    check_sizes,
    check_steps,
    check_times,
    confined,
    grid_cells,
    numbers_text,
    parse_kinds,
    parse_numbers,
    parse_value,
)
from wingbeat.study.condition import Condition, named, task_of
from wingbeat.study.ledger import Ledger
from wingbeat.study.plan_options import argument, option
from wingbeat.task.data import len_of
from wingbeat.task.task import Task
from wingbeat.tasks.from_scratch import FACTORIES, LOOPED, QUICK

STANDARD: Final = "standard"
TASK: Final = "wingbeat.studies.butterfly.plan:limited_task"
SINGLE: Final = GridKind("single", (0.01,), (0.0,))
"""One weight at the start, the paper's smallest perturbation."""
MEASURES: Final = ("ensemble", "cka", "l2_aligned", "barrier_aligned")
"""Metrics of a run that the study adds unless told otherwise. Together they cost about what
barriers of all pairs at the end do."""


GRID: Final[dict[str, Any]] = {
    "times": (0.0, 0.005, 0.02, 0.1, 0.5),
    "sizes": (1e-3, 1e-2, 1e-1),
    "kinds": (GridKind("batch"), GridKind("gaussian"), SINGLE),
    "replicas": 3,
    "seeds": 3,
}
"""What is run where nothing else is asked for."""
SMALL_GRID: Final[dict[str, Any]] = {
    "times": (0.0, 0.5),
    "sizes": (1e-2, 1e-1),
    "kinds": (GridKind("gaussian"), SINGLE),
    "replicas": 2,
    "seeds": 2,
}
"""The same of a quick study."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word and word != "none")


@dataclass(frozen=True)
class ButterflyPlan:
    """What was asked of the study. None in an axis of the grid takes what `GRID` has.

    The standard intervention is passed to the factory as none, "name=value" as that argument,
    every other as ``intervention``.

    Raises:
        RequestError: a value out of range, an unknown task.
    """

    task: str = argument(
        "MODULE:FACTORY, or cifar-resnet, cifar-vit, digits-resnet, mnist-mlp, shakespeare-gpt, "
        "sst2-minilm, gsm8k-lm.",
        "TASK",
        "cifar-resnet",
    )
    arguments: dict[str, Any] = option({}, "Argument of the task, name=value.", "arg")
    budget: float | None = option(None, "Share of the paper's 20,000 steps.")
    times: tuple[float, ...] | None = option(
        None,
        "Shares of training, as 0,0.005,0.02,0.1,0.5.",
        read=partial(parse_numbers, name="times"),
        write=numbers_text,
    )
    sizes: tuple[float, ...] | None = option(
        None,
        "Sizes relative to initialisation, as 1e-3,1e-2,1e-1.",
        "scale",
        read=partial(parse_numbers, name="scale"),
        write=numbers_text,
    )
    kinds: tuple[GridKind, ...] | None = option(
        None,
        "batch, gaussian, single, fraction, ulp; KIND:SIZE/SIZE@TIME/TIME.",
        read=parse_kinds,
        write=lambda kinds: ",".join(str(kind) for kind in kinds),
    )
    intervention_kinds: tuple[GridKind, ...] | None = option(
        None,
        "Kinds of every intervention but standard, as gaussian:0.01@0,ulp; default --kinds.",
        read=parse_kinds,
        write=lambda kinds: ",".join(str(kind) for kind in kinds),
    )
    replicas: int | None = option(None, "For each cell; default 3, with --quick 2.")
    seeds: int | None = option(None, "Base seeds; default 3, with --quick 2.")
    interventions: tuple[str, ...] = option((STANDARD,), "Such as 'long warm-up'.", "intervention")
    fraction: float = option(0.01, "Share of the weights that the kind fraction perturbs.")
    exclude: str = option(
        "norm|bias", "Regular expression of tensors that are left alone; '' for none."
    )
    head: str = option(HEAD, "Regular expression of the head's tensors.")
    eval_samples: int | None = option(
        1024, "Most samples of the evaluation data; 0 for all.", write=lambda n: str(n or 0)
    )
    snapshots: int = option(4, "Recorded steps besides the start and the forks.")
    driver: str | None = option(None, "lockstep or loop; default what suits the task.")
    quick: bool = option(False, "A small grid in about a minute.")
    measures: tuple[str, ...] = option(
        MEASURES,
        "Of ensemble, cka, l2_aligned, barrier_aligned; or none.",
        "metric",
        read=_words,
        write=lambda names: ",".join(names) or "none",
    )
    where: tuple[str, ...] = option(
        ("both",),
        "Of both, body, head: the part of the model that is perturbed.",
        read=_words,
        write=",".join,
    )

    def __post_init__(self) -> None:
        check_times(self.times or ())
        check_sizes(self.sizes or ())
        confined((), self.where)
        self._check_numbers()
        if len(set(self.interventions)) < len(self.interventions):
            raise RequestError(f"interventions are {self.interventions}: name each once")
        if () in (self.times, self.sizes, self.kinds, self.interventions, self.where):
            raise RequestError("times, sizes, kinds and interventions need one value each at least")
        for name in self.measures:
            if name not in MEASURES:
                raise RequestError(f"measure {name!r}: {nearest(name, MEASURES)}")
        if self.driver not in (None, "lockstep", "loop"):
            msg = f"driver is {self.driver!r}: use lockstep or loop, which give the same bits again"
            raise RequestError(msg)
        if self.task not in FACTORIES and ":" not in self.task:
            msg = f"task {self.task!r} is no built-in one, and no module:factory"
            raise RequestError(f"{msg}; {nearest(self.task, FACTORIES)}")

    def _check_numbers(self) -> None:
        least = {"replicas": 1, "seeds": 1, "snapshots": 1, "eval_samples": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise RequestError(f"{name} is {value!r}: give at least {bound}")
        if not 0 < self.fraction <= 1:
            raise RequestError(f"fraction is {self.fraction!r}: give a share above 0, at most 1")

    def axis(self, name: str) -> Any:
        """Return an axis of the grid: what was asked for, else what is usual."""
        usual = SMALL_GRID if self.quick else GRID
        return usual[name] if getattr(self, name) is None else getattr(self, name)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The grid of the standard recipe.

        >>> len(ButterflyPlan("mnist-mlp", quick=True).cells)
        5
        """
        return self.cells_of(STANDARD)

    def cells_of(self, intervention: str) -> tuple[Cell, ...]:
        """Return the grid under an intervention, which may be a smaller one."""
        own = None if intervention == STANDARD else self.intervention_kinds
        kinds = confined(own or self.axis("kinds"), self.where)
        return grid_cells(kinds, self.axis("sizes"), self.axis("times"))

    @property
    def every_cell(self) -> tuple[Cell, ...]:
        """The cells of all interventions, each once."""
        found = (cell for name in self.interventions for cell in self.cells_of(name))
        return tuple(dict.fromkeys(found))

    @property
    def copies(self) -> int:
        """Replicas of each cell of the grid."""
        return int(self.axis("replicas"))

    @property
    def base_seeds(self) -> tuple[int, ...]:
        """The base seeds; the first is 0."""
        return default_seeds(self.axis("seeds"))

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
    task = task_of(factory, arguments)
    if task.eval_data is None or eval_samples is None or len_of(task.eval_data) <= eval_samples:
        return task
    return replace(task, eval_data=select_samples(task.eval_data, eval_samples))


def conditions(plan: ButterflyPlan) -> list[Condition]:
    """Return one condition for each intervention and base seed.

    Every task is built once, so that nothing wrong is found only after hours.

    Raises:
        RequestError: the plan does not fit the task: its arguments, times that fall on one step,
            or perturbations of which no tensor is left.

    Example:
        >>> arguments = {"hidden": [8], "samples": 512, "epochs": 10}
        >>> plan = ButterflyPlan("mnist-mlp", arguments, times=(0.0, 0.1, 0.5), seeds=2)
        >>> len(conditions(plan)), len(conditions(plan)[0].perturbations)
        (2, 19)
    """
    return [c for name in plan.interventions for c in _of_intervention(plan, name)]


def _of_intervention(plan: ButterflyPlan, intervention: str) -> list[Condition]:
    given: dict[str, Any] = {
        "factory": plan.factory,
        "arguments": plan.arguments_of(intervention),
        "eval_samples": plan.eval_samples or None,
    }
    task = limited_task(**given)
    grid = plan.cells_of(intervention)
    check_steps(grid, task.steps)
    usual_driver: DriverName = "loop" if plan.task in LOOPED else "lockstep"
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
            replicas=plan.copies,
            record_every=max(1, -(-task.steps // plan.snapshots)),
            metrics=_metrics(task, plan.measures),
            seeds=(seed,),
            driver=cast("DriverName", plan.driver) or usual_driver,
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


def begun(plan: ButterflyPlan, folder: Path) -> ButterflyPlan:
    """Return the plan as a folder was begun: without further measures if it is so far.

    A study begun without them goes on and is drawn without them; nothing is trained again.

    Raises:
        RequestError: the plan does not fit the task, or the folder holds results of another one.
    """
    grid = conditions(plan)
    if not (folder / "records").is_dir():
        return plan
    ledger = Ledger(folder)
    done = ledger.done()
    bare = replace(plan, measures=())
    if plan.measures and not any(c.key in done for c in grid):
        former = conditions(bare)
        if any(c.key in done for c in former):
            plan, grid = bare, former
    check_task([c for c in grid if c.key in done], ledger)
    return plan


def check_task(done: Sequence[Condition], ledger: Ledger) -> None:
    """Refuse finished conditions whose task had another name, as with a stand-in for the data.

    The key of a condition holds what was asked, and where the data lie is not part of it.

    Raises:
        RequestError: one of them had; both names are said.
    """
    for condition in done:
        then = ledger.facts(condition.key)["condition"]["tags"].get("task")
        now = condition.tags["task"]
        if then not in (None, now):
            raise RequestError(
                f"{ledger.folder} holds results of {then!r}, and the task is {now!r} now: set "
                "WINGBEAT_DATA as it was then, or use another folder"
            )


def _accepted(place: str) -> tuple[tuple[str, ...], bool]:
    """Return the named parameters of a factory, and whether it takes any others."""
    parameters = inspect.signature(named(place)).parameters.values()
    names = tuple(p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD)
    return names, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
