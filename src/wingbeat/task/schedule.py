"""The learning rate of every step: a function of the step, or a scheduler of torch.

A scheduler is stepped once through the whole run on a stand-in of the optimizer, after each
update as torch means it; the options that it gave each group are then a table, so that any step
can be asked for, in any order and by any replica.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from wingbeat.determinism import seeded
from wingbeat.errors import RequestError
from wingbeat.task.signatures import made_optimizer

if TYPE_CHECKING:
    from collections.abc import Sequence

Options = dict[str, Any]
Schedule = Callable[[int], float] | Callable[[torch.optim.Optimizer], Any]
"""A factor of the learning rate by step, or a factory of a scheduler."""
WATCHED = ("lr", "momentum", "betas")
"""Options of a group that schedulers of torch move."""


class Scheduled(Protocol):
    """What has a schedule: a task, of which nothing more is needed here."""

    @property
    def schedule(self) -> Schedule | None:
        """Factor of the learning rate, or a factory of a scheduler."""
        ...

    @property
    def steps(self) -> int:
        """Optimizer updates in all."""
        ...

    @property
    def first_step(self) -> int:
        """Updates made before."""
        ...

    @property
    def seed(self) -> int:
        """Base seed."""
        ...

    @property
    def model(self) -> Callable[[], nn.Module]:
        """Factory of the model."""
        ...

    @property
    def optimizer(self) -> Callable[[Any], torch.optim.Optimizer]:
        """Factory of the optimizer."""
        ...


@dataclass(frozen=True)
class ScheduleTable:
    """What a scheduler gives each group before each step.

    Attributes:
        rows: for each step one dict of options a group; "lr" always among them.
        base: learning rate of each group that its factors refer to.
        kind: name of the scheduler's class.
    """

    rows: tuple[tuple[Options, ...], ...]
    base: tuple[float, ...]
    kind: str

    def options(self, step: int) -> tuple[Options, ...]:
        """Return the options of one step, group by group; after the last step, the last ones."""
        return self.rows[min(step, len(self.rows) - 1)]

    def factors(self, step: int) -> tuple[float, ...]:
        """Return each group's learning rate at one step over its base."""
        pairs = zip(self.options(step), self.base, strict=True)
        return tuple(float(row["lr"]) / base if base else 0.0 for row, base in pairs)

    @property
    def moves(self) -> tuple[str, ...]:
        """Names of the options besides the learning rate that change during the run."""
        return tuple(
            name
            for name in WATCHED[1:]
            if any(
                a.get(name) != b.get(name)
                for row in self.rows
                for a, b in zip(row, self.rows[0], strict=True)
            )
        )


def takes_optimizer(task: Scheduled) -> bool:
    """Tell a factory ``optimizer -> scheduler`` from a function ``step -> factor``.

    Raises:
        RequestError: the function fails at step 0 and is no factory either.
    """
    function = task.schedule
    if function is None:
        return False
    try:
        value: Any = function(0)  # type: ignore[arg-type]
    except Exception as error:  # whatever a scheduler says to a number in place of an optimizer
        return _is_factory(function, error)
    if isinstance(value, (LRScheduler, torch.optim.Optimizer)):
        return True
    try:
        float(value)
    except (TypeError, ValueError) as error:
        msg = (
            f"Task.schedule(0) is {value!r}: return the factor of the learning rate as a number, "
            "or write schedule=lambda optimizer: CosineAnnealingLR(optimizer, steps)"
        )
        raise RequestError(msg) from error
    return False


def _is_factory(function: Any, error: Exception) -> bool:
    probe = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    try:
        found = function(probe)
    except Exception:  # then it is no factory: what it said to a step number counts
        found = None
    if isinstance(found, LRScheduler):
        return True
    # A factory may need the optimizer's own groups or options: ask it with the real one.
    if _speaks_of_optimizer(error):
        return True
    msg = f"Task.schedule failed at step 0: {type(error).__name__}: {error}"
    raise RequestError(msg) from error


def _speaks_of_optimizer(error: Exception) -> bool:
    words = str(error).lower()
    return isinstance(error, (TypeError, AttributeError)) and (
        "optimizer" in words or "'int' object has no attribute" in words
    )


def table(task: Scheduled, optimizer: torch.optim.Optimizer) -> ScheduleTable | None:
    """Return what the task's scheduler does to an optimizer's groups, or None for a function.

    Raises:
        RequestError: the scheduler needs a measure, fails, or ends before the run does.
    """
    if not takes_optimizer(task):
        return None
    stand_in = _stand_in(optimizer)
    kind = "Task.schedule"
    try:
        scheduler = task.schedule(stand_in)  # type: ignore[misc,arg-type]
        kind = type(scheduler).__name__
        _check_scheduler(scheduler)
        rows = _rows(scheduler, stand_in, task.first_step + task.steps)
    except RequestError:
        raise
    except Exception as error:  # whatever a scheduler says
        msg = (
            f"{kind} of Task.schedule fails: {type(error).__name__}: {error}; it is stepped after "
            f"each of the {task.first_step + task.steps} updates, not after epochs"
        )
        raise RequestError(msg) from error
    return ScheduleTable(rows, _base(optimizer, rows), kind)


def _stand_in(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return an optimizer with groups of its own and no state, for a scheduler to move."""
    twin = type(optimizer).__new__(type(optimizer))
    own = {k: v for k, v in vars(optimizer).items() if k != "step"}
    groups = [dict(group) for group in optimizer.param_groups]
    # A scheduler warns where it is stepped before the optimizer; this one never takes a step.
    twin.__dict__.update(own, param_groups=groups, state=defaultdict(dict), _opt_called=True)
    return twin


def _check_scheduler(scheduler: Any) -> None:
    if isinstance(scheduler, ReduceLROnPlateau):
        msg = (
            "ReduceLROnPlateau follows a measure of the run, which differs from replica to "
            "replica: use a scheduler that depends on the step alone, such as StepLR, or "
            "keep your loop with wb.Twins"
        )
        raise RequestError(msg)
    if not hasattr(scheduler, "step"):
        msg = (
            f"Task.schedule returned {type(scheduler).__name__} for an optimizer: return a "
            "scheduler, as in schedule=lambda optimizer: CosineAnnealingLR(optimizer, steps)"
        )
        raise RequestError(msg)


def _rows(
    scheduler: Any, optimizer: torch.optim.Optimizer, steps: int
) -> tuple[tuple[Options, ...], ...]:
    rows = [_row(optimizer)]
    for _ in range(steps - 1):
        scheduler.step()
        rows.append(_row(optimizer))
    return tuple(rows)


def _row(optimizer: torch.optim.Optimizer) -> tuple[Options, ...]:
    return tuple({n: _plain(g[n]) for n in WATCHED if n in g} for g in optimizer.param_groups)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value


def _base(
    optimizer: torch.optim.Optimizer, rows: Sequence[tuple[Options, ...]]
) -> tuple[float, ...]:
    """Return each group's own rate, or the largest of its schedule where its own is 0."""
    own = [_plain(group["lr"]) for group in optimizer.param_groups]
    largest = [max(abs(float(row[i]["lr"])) for row in rows) for i in range(len(own))]
    return tuple(float(rate) or top for rate, top in zip(own, largest, strict=True))


def factor_of(task: Scheduled, step: int) -> float:
    """Return the learning-rate factor of one step, the same for all groups.

    Raises:
        RequestError: a scheduler gives the groups different factors.
    """
    if task.schedule is None:
        return 1.0
    known = vars(task).get("_table", False)
    if known is False:
        known = _alone(task) if takes_optimizer(task) else None
        keep_table(task, known)
    if known is None:
        return float(task.schedule(step))  # type: ignore[arg-type]
    factors = known.factors(step)
    if any(not math.isclose(f, factors[0], rel_tol=1e-12) for f in factors):
        msg = f"{known.kind} of Task.schedule gives the groups different factors: {factors}"
        raise RequestError(msg)
    return float(factors[0])


def keep_table(task: Scheduled, known: ScheduleTable | None) -> None:
    """Remember a task's table: it costs as many calls as the run has steps."""
    object.__setattr__(task, "_table", known)


def _alone(task: Scheduled) -> ScheduleTable | None:
    with seeded(task.seed):
        model = task.model()
    return table(task, made_optimizer(task.optimizer, model))


def refuse_rates(task: Scheduled, rates: Sequence[float]) -> None:
    """Refuse a schedule whose values are learning rates, where factors of one are meant.

    A run at the square of the rate that was meant would look like any other run, so it is not
    only warned of; where such factors are meant, half of them can go into the optimizer.

    Args:
        task: whose ``schedule`` is a function of the step.
        rates: the optimizer's learning rates.

    Raises:
        RequestError: the largest value is one of the rates, to rounding, and that is not 1.
    """
    first = task.first_step
    values = [factor_of(task, step) for step in range(first, first + task.steps)]
    largest = max(values)
    same = [r for r in rates if 0 < r < 1 and math.isclose(largest, r, rel_tol=1e-6)]
    if same:
        rate = same[0]
        msg = (
            f"Task.schedule gives {values[0]:g} at step 0 and at most {largest:g}, which is the "
            f"optimizer's learning rate: it must give a factor of that rate. Write schedule="
            f"lambda step: rate(step) / {rate:g}; if factors of {largest:g} are meant, put them "
            f"into the optimizer's lr and let the schedule begin at 1"
        )
        raise RequestError(msg)


def read_through(
    task: Scheduled, owner: torch.optim.Optimizer
) -> tuple[list[float], ScheduleTable | None]:
    """Read a task's schedule through; returns the groups' own rates, and what a scheduler sets.

    Raises:
        RequestError: it is no schedule of this optimizer.
    """
    if task.schedule is None:
        return [], None
    rates = [group.get("lr") for group in getattr(owner, "param_groups", [{}])]
    if any(rate is None for rate in rates):
        msg = (
            f"{type(owner).__name__} has no learning rate for Task.schedule to change "
            "(lr=None): leave schedule out, or give the optimizer a learning rate"
        )
        raise RequestError(msg)
    rates = [float(rate) for rate in rates]
    found = table(task, owner)
    keep_table(task, found)
    if found is None:
        refuse_rates(task, rates)
    return rates, found
