"""What a condition will cost, from a few of its steps: with fewer copies where all are too many."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch

from wingbeat.errors import RunError
from wingbeat.execution.request import make_request
from wingbeat.measure.metric import METRICS
from wingbeat.study.cost import CopiesCost, FirstSteps, copies_of, line, smaller
from wingbeat.study.runner.fresh import fresh, inherited
from wingbeat.worker_server import THREADS, environment

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from wingbeat.study.condition import Condition
    from wingbeat.task.task import Task

BUDGET: Final = 12.0
"""Seconds of measuring that a plan takes, for all of its probes; what is loaded comes on top."""
LONGEST: Final = 20.0
"""Seconds of a processor that the process may take: what it answered by then is the plan, and what
it did not is said not to be known."""
_PATIENCE: Final = 10
"""So many times as long is waited for it: others use the processor too, and a GPU takes none."""
_OUT_OF_TIME: Final = -getattr(signal, "SIGPROF", 0)
_SMALLEST: Final = (1, 1)
"""Perturbations and replicas of each that are measured first."""
_FEW: Final = 4
"""Steps of the smallest trial, the least that has two snapshots besides the start."""
_MORE: Final = 12
"""Steps of the others, for which there is time."""
_MIDDLE: Final = (3, 2)
"""The same of the middle size: more than twice as many copies, to tell what a copy costs from what
any step does."""


@dataclass(frozen=True)
class CostProbe:
    """What a few steps of one condition cost, and what follows for all of it.

    Attributes:
        key: of the condition.
        seconds: expected for the whole condition.
        seconds_per_step: of all replicas together.
        seconds_per_snapshot: to write and measure one.
        seconds_to_start: what does not depend on the length.
        memory: largest resident size of the process so far, in bytes, torch included; where fewer
            copies were measured, at least.
        parameters: trainable numbers of the model.
        disk: bytes of all snapshots while the condition is under way.
        copies: of the condition, the reference and its twin included.
        measured_copies: the most that were measured; the rest is scaled up.
        unmeasured: metrics that are not counted, since they did not answer in time.
    """

    key: str
    seconds: float
    seconds_per_step: float
    seconds_per_snapshot: float
    seconds_to_start: float
    memory: int
    parameters: int
    disk: int
    copies: int
    measured_copies: int
    unmeasured: tuple[str, ...] = ()


def measured(conditions: Sequence[Condition]) -> tuple[list[CostProbe], str]:
    """Probe conditions, one after the other, in a fresh process with one thread.

    Returns:
        What was measured, and what is not known; "" where all is.

    Raises:
        RequestError: a task cannot be built or run.
        RunError: the process died.
    """
    if not conditions:
        return [], ""
    context = fresh()
    with environment(dict.fromkeys(THREADS, "1")):
        answers, sender = context.Pipe(duplex=False)
        own = (sender, list(conditions), dict(os.environ))
        process = context.Process(target=_probe_all, args=own)
        process.start()
    sender.close()  # the other end then sees where the process is gone
    try:
        found, gone = _answers(answers)
        if gone:
            process.join()
        if gone and process.exitcode != _OUT_OF_TIME:
            raise RunError("the process that measures a few steps died: is memory short?")
        return _best(found, len(conditions))
    finally:
        process.kill()
        process.join()


def _answers(answers: Connection) -> tuple[list[CostProbe], bool]:
    """Return the last answer for each condition, and whether the process is gone before the end."""
    found: dict[str, CostProbe] = {}
    deadline = time.monotonic() + _PATIENCE * LONGEST
    while answers.poll(max(0.0, deadline - time.monotonic())):
        try:
            answer = answers.recv()
        except EOFError:
            return list(found.values()), True
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            break
        found[answer.key] = answer
    return list(found.values()), False


def _best(found: list[CostProbe], asked: int) -> tuple[list[CostProbe], str]:
    """Return the probes with most metrics, and what is not known of them and of the others."""
    late = f"within {LONGEST:g} s of a processor"
    if not found:
        return [], f"a few steps of the fewest copies were not made {late}"
    known = min(len(probe.unmeasured) for probe in found)
    best = [probe for probe in found if len(probe.unmeasured) == known]
    if best[0].unmeasured:
        return best, f"not counted, as not measured {late}: {', '.join(best[0].unmeasured)}"
    return best, "" if len(best) == asked else f"{asked - len(best)} others not {late}"


def _probe_all(
    sender: Connection, conditions: Sequence[Condition], variables: dict[str, str]
) -> None:
    inherited(variables)
    if hasattr(signal, "setitimer"):  # the signal ends the process, whatever it is in
        signal.setitimer(signal.ITIMER_PROF, LONGEST)
    begin = time.process_time()
    try:
        for place, condition in enumerate(conditions):
            left = BUDGET - (time.process_time() - begin)
            for better in probes(condition, left / (len(conditions) - place)):
                sender.send(better)
        sender.send(None)
    except Exception as error:  # whatever a task of the user's raises is told where it is asked
        sender.send(error)


def probe(condition: Condition, seconds: float = BUDGET) -> CostProbe:
    """Train the first steps of a condition and say what all of it will cost; see `probes`."""
    *_, last = probes(condition, seconds)
    return last


def probes(condition: Condition, seconds: float = BUDGET) -> Iterator[CostProbe]:
    """Yield what a condition will cost, better each time, from its first steps.

    Short runs separate what a step, a snapshot and the start cost; perturbations are made at the
    start, so that a late fork is over-estimated. The steps of a few copies come first, then what
    the metrics of these take. All copies with all metrics are measured where there is time for it;
    else what fewer take is scaled up.

    Args:
        condition: what would be trained.
        seconds: that measuring should take, loading not counted.
    """
    torch.set_num_threads(1)
    task, (light, heavy) = condition.task(), _by_cost(condition)
    begin, steps = time.process_time(), min(_FEW, task.steps)
    small = FirstSteps(replace(smaller(condition, *_SMALLEST), metrics=light), task, steps)
    costs = [small.cost()]
    found, most = line(costs, copies_of(condition)), costs[-1].copies
    yield _answer(condition, task, found, most, heavy)
    for place, group in enumerate(heavy):
        each = _needs(group[0]) == "outputs"
        start, shot = small.of_metrics(group, each_moment=each)
        costs.append(costs.pop().plus(start, shot))
        found = line(costs, copies_of(condition))
        yield _answer(condition, task, found, most, heavy[place + 1 :])
    # The first trial of all copies records their steps, which a second need not.
    steps = min(_MORE, task.steps)
    for larger in (condition, smaller(condition, *_MIDDLE), condition):
        left, size = seconds - (time.process_time() - begin), copies_of(larger)
        if size >= costs[-1].copies and line(costs, size).to_measure(steps) <= left:
            costs = [c for c in costs if c.copies < size]
            costs.append(FirstSteps(larger, task, steps).cost())
            yield _answer(condition, task, line(costs, copies_of(condition)), size, ())


def _answer(
    condition: Condition, task: Task, cost: CopiesCost, most: int, left: Sequence[tuple[str, ...]]
) -> CostProbe:
    snapshots, seeds = task.steps // condition.steps_between(task) + 2, len(condition.seeds)
    return CostProbe(
        key=condition.key,
        seconds=seeds * (cost.start + cost.step * task.steps + cost.shot * snapshots),
        seconds_per_step=cost.step,
        seconds_per_snapshot=cost.shot,
        seconds_to_start=cost.start,
        memory=int(cost.memory),
        parameters=sum(p.numel() for p in task.model().parameters()),
        disk=int(seeds * snapshots * cost.snapshot),
        copies=cost.copies,
        measured_copies=most,
        unmeasured=tuple(name for group in left for name in group),
    )


def _needs(name: str) -> str:
    return METRICS.find(name).needs if name in METRICS else "outputs"  # of the task


def _by_cost(condition: Condition) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the metrics that only read weights and losses, and the others in groups.

    Those of outputs share a pass over the evaluation data; of the others each has its own price.
    """
    asked = make_request(
        condition.task(),
        condition.forks(),
        replicas=condition.replicas,
        record_every=None,
        metrics=condition.metrics,
        dtype=condition.torch_dtype,
        device=condition.device,
    ).metrics
    light = tuple(name for name in asked if _needs(name) in ("weights", "losses"))
    outputs = tuple(name for name in asked if _needs(name) == "outputs")
    others: list[tuple[str, ...]] = [(n,) for n in asked if n not in {*light, *outputs}]
    return light or ("l2",), [outputs, *others] if outputs else others
