"""Find the step from which on a perturbation no longer leads to another basin."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from wingbeat.analyses.onset import outcome
from wingbeat.analyses.onset.candidates import candidate_steps
from wingbeat.analyses.onset.decision import fewest
from wingbeat.analyses.onset.endpoint_metric import METRICS, EndpointMetric, check_metric
from wingbeat.analyses.onset.experiment import OnsetExperiment
from wingbeat.analyses.onset.outcome import Onset, Rule, Trial
from wingbeat.analyses.onset.search import cost, next_step
from wingbeat.determinism import derive, deterministic_algorithms, seeded
from wingbeat.errors import RequestError
from wingbeat.execution.progress import Progress
from wingbeat.execution.request import make_request
from wingbeat.measure.metric import Metric, own_codes
from wingbeat.replicas.drivers.selection import DriverName
from wingbeat.replicas.perturb import Gaussian, Init, Nudge, Perturbation
from wingbeat.trajectory.store import FolderStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wingbeat.analyses.onset.search import Cost
    from wingbeat.execution.request import Request
    from wingbeat.task.task import Task


def find_onset(
    task: Task,
    metric: str | Metric = "barrier_error",
    *,
    threshold: float | None = None,
    perturbation: Perturbation | None = None,
    replicas: int = 5,
    confidence: float = 0.95,
    share: float = 0.5,
    steps: Sequence[int] | None = None,
    tolerance: int | None = None,
    driver: DriverName = "auto",
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    out: str | Path | None = None,
    progress: bool | None = None,
    factory: dict[str, Any] | None = None,
) -> Onset:
    """Find the first step from which on a perturbation no longer leads to another basin.

    The reference trains once, and its whole state is kept at every candidate step. Bisection then
    forks replicas off it at one candidate after another, trains them to the end under the
    reference's noise, and counts how many ended elsewhere. No trial trains anything before its
    step. An exact binomial test decides each step; where it does not, both ends of the undecided
    stretch are bisected instead, and the answer is an interval.

    Assumed: once stable, always stable. Bisection is completed by a step inside each side that it
    left unseen, so that a contradiction can show (``Onset.monotone``); between steps that were
    tried nothing is known.

    Args:
        task: what to train.
        metric: between each replica and the reference at the end: "barrier_error" (of training
            error; also "barrier_error_test"), "barrier" and "barrier_test" (of the loss), "l2",
            "disagreement", or a metric of yours that is declared with ``compares=True`` and is 0
            for identical models.
        threshold: above it a replica has left; in the metric's unit. Only for errors is there a
            default, 2 points (Frankle et al.). A replica that diverged has left.
        perturbation: what is done to the replicas, at whichever step; default ``Gaussian(0.01)``.
            With ``DataOrder()`` it is the instability analysis of Frankle et al.
        replicas: at each step tried; at the default confidence 5 are needed to decide at all, and
            8 to decide against one dissenter.
        confidence: of the verdict at each step.
        share: probability to leave above which a step is unstable.
        steps: candidates; default every ``tolerance`` steps from 0 on. Early steps often matter
            most: ``steps=[0, 1, 2, 4, 8, …]`` looks there more closely.
        tolerance: steps between candidates; by default so that there are at most 64.
        driver: as in ``wb.run``.
        dtype: as in ``wb.run``.
        device: as in ``wb.run``.
        out: folder; the same request on the same folder goes on where it stopped. None uses a
            temporary one. It holds the reference's state once for every candidate.
        progress: show bars, and the cost before it begins; None shows them on a terminal. See
            `wingbeat.onset.onset_cost` for the cost alone.
        factory: ``module:factory`` and arguments, kept in the condition.

    Returns:
        The step, its interval, and a row for each step tried; see `Onset`.

    Raises:
        RequestError: the request is wrong, or too few replicas for any outcome to decide.
        StoreError: the folder holds another search, or is locked or damaged.
        RunError: the reference diverged, or the data failed.

    Source: instability analysis, Frankle et al., arXiv 1912.05671, section 3; perturbations,
    Altıntaş et al., arXiv 2506.13234.

    Example:
        >>> from wingbeat.task.task import Task
        >>> bowl = Task(
        ...     model=lambda: torch.nn.Linear(1, 1, bias=False),
        ...     loss=lambda model, batch: (model(batch[0]) ** 2).mean(),
        ...     data=(torch.ones(4, 1),),
        ...     optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        ...     batch_size=4,
        ...     steps=8,
        ... )
        >>> print(find_onset(bowl, "barrier", threshold=0.01, driver="loop"))
        stable from step 0 on, the first that was tried (95% at each step)
    """
    rule = Rule(*check_metric(metric, threshold), share, confidence)
    request = _request(task, perturbation, replicas, dtype, device, factory)
    candidates = candidate_steps(task.steps, steps, tolerance)
    least = fewest(share=share, confidence=confidence)
    if replicas < least:
        raise RequestError(
            f"replicas is {replicas}: at confidence {confidence} even a unanimous outcome needs "
            f"{least} to decide"
        )
    with Progress(progress) as bar, _folder(out) as store:
        search = _Search(request, rule, candidates, store, bar)
        return search.run(driver, None if out is None else Path(out))


@dataclass(frozen=True)
class _Search:
    """A search under way."""

    request: Request
    rule: Rule
    steps: tuple[int, ...]
    store: FolderStore
    bar: Progress

    def run(self, driver: DriverName, folder: Path | None) -> Onset:
        """Train the reference, try steps until nothing is left to learn, and return the answer."""
        task, replicas = self.request.task, self.request.replicas
        planned = cost(self.steps, task.steps, replicas)
        self.bar.note(planned.sentence())
        experiment = OnsetExperiment(self.request, self.steps, self.store)
        condition = {
            **self.request.describe(experiment.step),
            "onset": {**asdict(self.rule), "steps": list(self.steps), **self._own_code()},
        }
        with seeded(derive(task.seed, "run")), deterministic_algorithms(experiment.step.skeleton):
            experiment.agree(condition)
            experiment.choose(driver)
            self.bar.note(experiment.choice.sentence())
            gauge = EndpointMetric(self.rule.metric, experiment.step, experiment.choice)
            with self.bar.task("training the reference", task.steps) as tick:
                experiment.train(tick)
            trials = self._trials(experiment, gauge)
        noise = max([experiment.reference_noise(), *(t.noise for t in trials.values())])
        return self._outcome(experiment, trials, noise, planned, condition, folder)

    def _trials(self, experiment: OnsetExperiment, gauge: EndpointMetric) -> dict[int, Trial]:
        trials: dict[int, Trial] = {}
        length = self.request.task.steps
        while (step := self._next(trials)) is not None:
            name = f"trial-{step:06d}.json"
            if (there := self.store.read_json(name)) is None:
                with self.bar.task(f"replicas from step {step}", length - step) as tick:
                    trial = self._trial(experiment, gauge, step, tick)
                self.store.write_json(name, asdict(trial))
            else:
                trial = Trial.from_json(there)
            trials[step] = trial
            left = trial.left(self.rule.threshold)
            self.bar.note(
                f"step {step}: {left} of {trial.counted} left: {self.rule.verdict(trial)}"
            )
        return trials

    def _own_code(self) -> dict[str, Any]:
        """Return a digest of a metric of one's own: if it changes, the search is another one."""
        codes = {} if self.rule.metric in METRICS else own_codes([self.rule.metric])
        return {"metric_code": codes} if codes else {}

    def _next(self, trials: dict[int, Trial]) -> int | None:
        return next_step(self.steps, {s: self.rule.verdict(t) for s, t in trials.items()})

    def _trial(
        self, experiment: OnsetExperiment, gauge: EndpointMetric, step: int, tick: Any
    ) -> Trial:
        ends = experiment.trial(step, tick)
        places = [0, *range(2, len(ends.models))]
        values = gauge(ends.models.take(places))[1:]
        nudged = isinstance(experiment.perturbation, Nudge)
        return Trial(
            step=step,
            values=tuple(float(v) if np.isfinite(v) else None for v in values),
            l2=tuple(m.l2 for m in ends.members),
            moved=tuple(m.changed > 0 or not nudged for m in ends.members),
            noise=ends.noise,
        )

    def _outcome(
        self,
        experiment: OnsetExperiment,
        trials: dict[int, Trial],
        noise: float,
        planned: Cost,
        condition: dict[str, Any],
        folder: Path | None,
    ) -> Onset:
        rule, length = self.rule, self.request.task.steps
        found = outcome.answer(self.steps, rule, trials)
        decided = sum(rule.verdict(t) != "undecided" for t in trials.values())
        spent = sum((self.request.replicas + 1) * (length - step) for step in trials)
        notes = [*outcome.warnings_of(found.where, trials, noise), *experiment.choice.warnings]
        result = Onset(
            status=found.status,
            step=found.step,
            low=found.where.low,
            high=found.where.high,
            reason=found.reason,
            monotone=not found.where.against,
            confidence=rule.confidence,
            joint_confidence=max(0.0, 1.0 - decided * (1.0 - rule.confidence)),
            table=outcome.trial_table(rule, trials),
            values=outcome.value_table(rule, trials),
            metric=rule.metric,
            threshold=rule.threshold,
            share=rule.share,
            cost=planned,
            spent=planned.reference + spent,
            noise_floor=noise,
            warnings=tuple(notes),
            condition=condition,
            environment=experiment.environment,
            folder=folder,
        )
        self.store.write_json("onset.json", result.to_json())
        return result


def _request(
    task: Task,
    perturbation: Perturbation | None,
    replicas: int,
    dtype: torch.dtype,
    device: str | torch.device,
    factory: dict[str, Any] | None,
) -> Request:
    nudge = Gaussian(0.01) if perturbation is None else perturbation
    if isinstance(nudge, Perturbation) and nudge.at != 0:
        raise RequestError(f"perturbation.at is {nudge.at}: leave it out, the search chooses steps")
    if isinstance(nudge, Init):
        raise RequestError("perturbation is Init: an initialisation can only differ at step 0")
    length = getattr(task, "steps", 1)
    return make_request(
        task,
        nudge,
        replicas=replicas,
        record_every=length,
        metrics=(),
        dtype=dtype,
        device=device,
        factory=factory,
    )


@contextlib.contextmanager
def _folder(out: str | Path | None) -> Iterator[FolderStore]:
    """Hold a folder against other processes; a temporary one where none was asked for."""
    with contextlib.ExitStack() as stack:
        where = out if out is not None else stack.enter_context(tempfile.TemporaryDirectory())
        store = FolderStore(Path(where), create=True)
        store.lock()
        stack.callback(store.unlock)
        yield store
