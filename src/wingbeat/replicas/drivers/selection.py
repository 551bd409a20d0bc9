"""Choose how the step is executed, by measuring, and prove what the choice promises.

The way a step is executed is itself a perturbation, so the choice is made once, kept for the
same request on this machine, written into the run's fingerprint and never mixed within a run.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import DriverError
from wingbeat.fingerprint import fingerprint, warn_of_lost_asserts
from wingbeat.products import warn_if_not_reproducible
from wingbeat.replicas.drivers.accelerator import finish
from wingbeat.replicas.drivers.cache import DriverTimings, key_of, load, store
from wingbeat.replicas.drivers.equal_copies import PLACE, SIZES, EqualCopies
from wingbeat.replicas.drivers.execution_plan import ExecutionPlan
from wingbeat.replicas.drivers.large_net import REASON, is_large_net, repeats
from wingbeat.replicas.drivers.lockstep import DisprovedError, Lockstep
from wingbeat.replicas.drivers.object_loop import LOOP, alone
from wingbeat.replicas.drivers.plain import UnlikePlainError, hold_to_plain
from wingbeat.replicas.drivers.recorded_loop import LAST, RECORDED, first_trial, is_worth_it
from wingbeat.replicas.drivers.registry import AUTO, DRIVERS, DriverKind, check_driver
from wingbeat.replicas.drivers.smaller_stacks import in_smaller_stacks, of_size
from wingbeat.replicas.reads import NotRecordableError
from wingbeat.replicas.replicas import Driver, Replicas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.replicas.fork import Member
    from wingbeat.task.batches import Batches
    from wingbeat.task.step import TrainingStep

DriverName = str
"""\"auto\", or a name in `DRIVERS`: \"lockstep\", \"loop\", or one that a package declares."""
CHUNKS = (8, 32)
"""Stack sizes that "auto" tries besides the whole."""
LOOP_MARGIN = 1.2
"""The loop must be this much faster to be chosen: near a tie, the choice should not flip."""
COMPILE_SECONDS = 120.0
"""Compiling is tried when the rest of the run would take longer than this."""


class DriverSelector:
    """Chooses the execution of one run.

    Args:
        step: the pure step.
        batches: training data.
        stack_schedule: the members that are in the stack between two forks, for each such stretch.
        steps: length of the run.
    """

    def __init__(
        self,
        step: TrainingStep,
        batches: Batches,
        stack_schedule: Sequence[list[Member]],
        steps: int,
    ) -> None:
        self.step, self.batches, self.stack_schedule, self.steps = (
            step,
            batches,
            stack_schedule,
            steps,
        )
        self.copies = EqualCopies(step, batches, stack_schedule, steps)
        self._compiled: Lockstep | None = None

    def choose(self, wanted: DriverName, compiled: bool | None) -> ExecutionPlan:
        """Return the execution to use.

        Raises:
            RequestError: an unknown driver.
            DriverError: "lockstep" was asked for and the model cannot run in it.
        """
        choice = self._chosen(wanted, compiled)
        warnings = (
            *choice.warnings,
            *warn_if_not_reproducible(),
            *warn_of_lost_asserts(),
            *self._of_the_data(),
        )
        return replace(choice, warnings=warnings)

    def _of_the_data(self) -> tuple[str, ...]:
        names = ", ".join(self.batches.remembers[:3])
        if not names:
            return ()
        warning = (
            f"the data set or the augmentation keeps state ({names}): what a batch holds depends "
            "on how often data were asked for, which a plain loop does another number of times. "
            "All replicas see the same batches; make the content a function of the sample's index"
        )
        return (warning,)

    def _chosen(self, wanted: DriverName, compiled: bool | None) -> ExecutionPlan:
        if check_driver(wanted) == AUTO:
            return self._measured(compiled)
        if wanted == LOOP:
            return self._loop("asked for")
        kind = DRIVERS.find(wanted)
        driver = self._held(kind, kind.first_mode(compiled, self.step.device.type))
        choice = self.copies.checked(driver, 0 if kind.stacks else 1, "asked for")
        return self._exact(kind, choice) if PLACE in choice.warnings else choice

    def frozen(self, facts: dict[str, Any]) -> ExecutionPlan:
        """Return the execution that an earlier start of the same run chose."""
        return ExecutionPlan(
            DRIVERS.find(facts["driver"]).function(self.step, facts["mode"]),
            facts["chunk"],
            max(1, int(facts["spare"])),
            facts["driver_reason"],
            facts["driver_timings_ms"],
        )

    def _loop(self, reason: str) -> ExecutionPlan:
        if self.step.optimizer is None:
            reason = self.step.reason
        return ExecutionPlan(alone(self.step), 1, reason=reason)

    def _lockstep(self, compiled: bool | None) -> Lockstep:
        """Return a lock-step driver that has run once, recorded if the model allows it."""
        kind = DRIVERS.find("lockstep")
        driver = self._held(kind, kind.first_mode(compiled, self.step.device.type))
        assert isinstance(driver, Lockstep)
        return driver

    def _held(self, kind: DriverKind, mode: str) -> Driver:
        """Return a driver that has run once and was held to a plain loop, in the first mode to do.

        Raises:
            DriverError: it cannot run the model in any mode, or trains otherwise.
        """
        if self.step.remembers:
            names = ", ".join(self.step.remembers[:3])
            msg = f"the model or the loss keeps hidden state: it changes {names}"
            raise DriverError(msg)
        driver = kind.function(self.step, mode)
        try:
            cast = self.stack_schedule[-1]
            stack = (0, cast) if kind.stacks else (1, cast[:2])
            hold_to_plain(self.step, self.copies.replicas(driver, *stack), self._plain, self.steps)
            return driver
        except (DisprovedError, NotRecordableError):
            raise
        except DriverError as error:
            left = kind.modes[kind.modes.index(mode) + 1 :]
            # With channels last, dropout draws its mask in that order: not so in other modes.
            if not left or (isinstance(error, UnlikePlainError) and LAST not in mode):
                raise
        # After the handler: an error holds the frames that it came from, and these all replicas.
        self.step.renew()  # the attempt may have left its tensors in the model
        return self._held(kind, left[0])

    def _plain(self) -> Replicas:
        return self.copies.replicas(alone(self.step), 1, self.stack_schedule[-1][:1])

    def _measured(self, compiled: bool | None) -> ExecutionPlan:
        if is_large_net(self.step):
            return self._of_large_net()
        try:
            return self._fastest(self._lockstep(compiled), compiled)
        except DriverError as error:
            choice = self._loop(str(error))
            return choice if self.step.remembers else _with_hidden_state(choice)

    def _of_large_net(self) -> ExecutionPlan:
        """Return the loop, with the warning that a trial of lock step would have given."""
        choice = self._loop(REASON)
        one = self.copies.replicas(choice.driver, 1, self.stack_schedule[-1][:1])
        if self.step.remembers or repeats(one):
            return choice
        return _with_hidden_state(replace(choice, reason=f"{choice.reason}; hidden state"))

    def _fastest(self, driver: Lockstep, compiled: bool | None) -> ExecutionPlan:
        key = key_of(self._decides(driver, compiled))
        found = load(key) or store(key, self._timed(driver, compiled))
        mode, _, chunk = found.best.partition("/")
        if mode == "loop":
            return ExecutionPlan(
                alone(self.step), 1, reason="fastest measured", timings=found.timings
            )
        chosen: Driver = driver
        if mode == RECORDED:
            chosen, chunk = self._held(DRIVERS.find(RECORDED), chunk), "1"
        elif mode != driver.mode:
            chosen = self._compiled or self._lockstep(True)
        choice = self.copies.checked(chosen, int(chunk or 0), "fastest measured", found.timings)
        if not choice.warnings:
            return choice
        return self._smaller(choice, found, driver, key) or self._inexact(mode, found.timings)

    def _inexact(self, mode: str, timings: dict[str, float]) -> ExecutionPlan:
        what = "lock step" if mode != RECORDED else "the recorded loop"
        reason = f"{what} is not exact here with {torch.get_num_threads()} threads"
        return ExecutionPlan(alone(self.step), 1, reason=reason, timings=timings)

    def _smaller(
        self, parted: ExecutionPlan, found: DriverTimings, driver: Lockstep, key: str
    ) -> ExecutionPlan | None:
        """Return smaller stacks in which equal copies stay equal, where they beat the loop.

        What was found once, and whether it was worth the trials, decides again.
        """
        kind, mode = DRIVERS.find(driver.name), parted.driver.mode
        if parted.driver.name != driver.name:
            return None
        own = key_of({"before": key, "parted": found.best})
        kept = load(own) or store(own, self._timed_smaller(kind, parted, found, driver))
        _, _, size = kept.best.partition("/")
        if not size:
            return None
        args = (self.copies, self._plain, "fastest measured of what is exact")
        plan = of_size(kind, mode, int(size), *args)
        return None if plan.warnings else replace(plan, timings={**found.timings, **kept.timings})

    def _timed_smaller(
        self, kind: DriverKind, parted: ExecutionPlan, found: DriverTimings, driver: Lockstep
    ) -> DriverTimings:
        """Return the faster of the loop and the largest stacks that are exact."""
        loop = found.timings[LOOP]
        timings = {LOOP: loop}
        saved = (loop - found.timings[found.best]) * self.steps / 1000
        # Recording each size takes about as long as recording the whole did.
        if saved > len(SIZES) * driver.build_seconds / max(1, len(driver.signatures)):
            plan = in_smaller_stacks(kind, parted, self.copies, self._plain, "tried")
            if plan is not None:
                name = f"{plan.driver.mode}/{plan.chunk}"
                timings[name] = self._time(plan.driver, plan.chunk, plan.spare)
                if timings[name] <= loop * LOOP_MARGIN:
                    return DriverTimings(name, timings)
        return DriverTimings(LOOP, timings)

    def _decides(self, driver: Lockstep, compiled: bool | None) -> dict[str, Any]:
        """Return all that a measured choice depends on."""
        here = fingerprint(self.step.device, self.step.dtype)
        sizes = [len(cast) for cast in self.stack_schedule]
        asked: dict[str, Any] = {"sizes": sizes, "steps": self.steps, "compiled": compiled}
        if (shapes := len(self.batches.shapes())) > 1:
            asked["shapes"] = shapes
        return {**here, **asked, "programs": sorted(driver.signatures)}

    def _timed(self, driver: Lockstep, compiled: bool | None) -> DriverTimings:
        """Return the fastest candidate: "loop", or a mode with "/" and a size of stacks."""
        spare = self.copies.fill(driver)
        timings = {f"{driver.mode}": self._time(driver, 0, spare)}
        for chunk in (c for c in CHUNKS if c < len(self.stack_schedule[-1])):
            timings[f"{driver.mode}/{chunk}"] = self._time(driver, chunk, spare)
        best = min(timings, key=lambda name: timings[name])
        timings["loop"] = self._time(alone(self.step), 1)
        recording = self._recording(driver)
        if timings["loop"] * LOOP_MARGIN < timings[best] + recording:
            further = {"recording each shape of batch": recording} if recording else {}
            return self._one_by_one({**timings, **further}, compiled)
        left = timings[best] * self.steps / 1000
        if compiled is None and driver.mode in {"traced", "graphed"} and left > COMPILE_SECONDS:
            best = self._try_compiled(best, timings)
        return DriverTimings(best, timings)

    def _one_by_one(self, timings: dict[str, float], compiled: bool | None) -> DriverTimings:
        """Return the faster of the loop and the recorded loop, which is tried where it may pay."""
        left = timings["loop"] * self.steps / 1000
        best = LOOP
        for mode in first_trial(left, compiled, len(self.batches.shapes())):
            try:
                driver = self._held(DRIVERS.find(RECORDED), mode)
                timings[name := f"{RECORDED}/{driver.mode}"] = self._time(driver, 1)
            except Exception as error:  # no C++ compiler, or a graph that it refuses
                logging.getLogger("wingbeat").info("not recorded: %s", error)
                self.step.renew()
                continue
            best = name if is_worth_it(timings[name], timings[best], best == LOOP) else best
        return DriverTimings(best, timings)

    def _recording(self, driver: Lockstep) -> float:
        """Return milliseconds a step that recording each shape of batch takes, over the run."""
        shapes = self.batches.shapes()
        if len(shapes) < 2:
            return 0.0
        each = driver.build_seconds / max(1, len(driver.signatures))
        return round(1000 * each * len(shapes) / self.steps, 3)

    def _try_compiled(self, best: str, timings: dict[str, float]) -> str:
        _, stroke, chunk = best.partition("/")
        try:
            candidate = Lockstep(self.step, "compiled")
            took = self._time(candidate, int(chunk or 0), self.copies.fill(candidate))
        except Exception as error:  # no C++ compiler, or a graph that it refuses
            logging.getLogger("wingbeat").info("not compiled: %s", error)
            return best
        timings[f"compiled{stroke}{chunk}"] = took
        if took >= 0.7 * timings[best]:
            return best
        self._compiled = candidate
        return f"compiled{stroke}{chunk}"

    def _time(self, driver: Driver, chunk: int, spare: int = 1, repeats: int = 3) -> float:
        """Return milliseconds for one step of all replicas, the best of a few."""
        replicas = self.copies.replicas(driver, chunk, self.stack_schedule[-1], spare)
        replicas.advance(0, in_place=replicas.large)
        best = float("inf")
        for index in range(repeats):
            finish(self.step.device)
            begin = time.perf_counter()
            replicas.advance(index, in_place=replicas.large)
            finish(self.step.device)
            best = min(best, time.perf_counter() - begin)
        return round(best * 1000, 3)

    def _exact(self, kind: DriverKind, parted: ExecutionPlan) -> ExecutionPlan:
        """Return an execution in which copies that are equal stay equal, if there is one.

        First in smaller stacks, then in later modes of the driver, whole and in smaller stacks.
        """
        mode = parted.driver.mode
        found = in_smaller_stacks(kind, parted, self.copies, self._plain, "asked for")
        if found is not None:
            return found
        reason = f"asked for; {mode}, equal copies part"
        for other in kind.modes[kind.modes.index(mode) + 1 :] if mode in kind.modes else ():
            self.step.renew()
            try:
                driver = self._held(kind, other)
            except DriverError:
                return parted
            choice = self.copies.checked(driver, parted.chunk, reason)
            if PLACE not in choice.warnings:
                return choice
            found = in_smaller_stacks(kind, choice, self.copies, self._plain, reason)
            if found is not None:
                return found
        return parted


def _with_hidden_state(choice: ExecutionPlan) -> ExecutionPlan:
    """Add a warning where the reason for the loop is that the model remembers something."""
    if "hidden state" not in choice.reason:
        return choice
    warning = (
        "the model's forward pass keeps state outside its parameters and buffers: replicas share "
        "it, and a resumed run does not have it. Make it a buffer, or trust no small distance"
    )
    return replace(choice, warnings=(*choice.warnings, warning))
