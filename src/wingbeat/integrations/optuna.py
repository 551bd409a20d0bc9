"""Optuna drives conditions of a study: λ, a barrier or an onset as objectives.

Optuna proposes and is told (its ask-and-tell interface); a study folder remembers what was
computed, so that a proposal made twice trains once and a search goes on after a kill::

    import optuna
    from wingbeat.integrations.optuna import search
    from wingbeat.study import Condition

    def propose(trial):
        lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
        return Condition("wingbeat.tasks.dense:circles_task", {"lr": lr, "epochs": 2})

    study = optuna.create_study(directions=["minimize", "minimize"])
    found = search(study, propose, ["lyapunov", "eval_loss"], "runs/search", trials=50, batch=8)
    study.best_trials
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from wingbeat.errors import RequestError, nearest
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger
from wingbeat.study.outcome import StudyResult
from wingbeat.study.run import run_study
from wingbeat.study.runner import Runner
from wingbeat.study.search import KEY, REASON, Propose, ask, library, tell

__all__ = ["KEY", "REASON", "Objective", "Propose", "search", "values_of"]

Objective = str | Callable[[Mapping[str, Any]], float]


def search(
    study: Any,
    propose: Propose,
    objectives: Sequence[Objective],
    out: str | Path,
    *,
    trials: int,
    batch: int = 1,
    runner: Runner | None = None,
    tries: int = 2,
) -> StudyResult:
    """Let an Optuna study choose conditions and tell it what they gave.

    Args:
        study: from ``optuna.create_study``, with one direction for each objective.
        propose: from a trial, whose ``suggest_…`` methods it calls, to the condition.
        objectives: each the name of a scalar in a condition's summary ("lyapunov",
            "final_barrier", what a function in its ``measures`` adds, such as an onset), or a
            function of the record's facts.
        out: folder of the study.
        trials: how many to make in this call.
        batch: how many to propose before the first of them is known: as many as the runner
            does at a time.
        runner: who does the work; by default this process.
        tries: attempts at each condition.

    Returns:
        All conditions that were asked for. A trial whose condition failed, or whose objective
        is undefined, is told as failed, with the reason among its attributes.

    Raises:
        RequestError: a number is out of range, the directions do not fit the objectives, an
            objective is not measured, or Optuna is not installed.
    """
    library()
    _check(study, objectives, trials, batch)
    asked: list[Condition] = []
    for begin in range(0, trials, batch):
        pairs = [ask(study, propose) for _ in range(min(batch, trials - begin))]
        asked += [condition for _, condition in pairs]
        found = run_study([c for _, c in pairs], out, runner, tries=tries)
        for trial, condition in pairs:
            _tell(study, trial, objectives, condition, found)
    return run_study(asked, out, runner, tries=1)


def values_of(facts: Mapping[str, Any], objectives: Iterable[Objective]) -> list[float]:
    """Return the objectives of a record; NaN where undefined.

    Raises:
        RequestError: an objective is not measured.

    Example:
        >>> facts = {"summary": {"lyapunov": {"value": 0.5}, "barrier": {"value": None}}}
        >>> values_of(facts, ["lyapunov", "barrier", lambda facts: 2.0])
        [0.5, nan, 2.0]
    """
    summary = facts["summary"]
    out = []
    for objective in objectives:
        if callable(objective):
            out.append(float(objective(facts)))
            continue
        if objective not in summary:
            known = [name for name in summary if "/" not in name]
            msg = f"the objective {objective!r} is not measured: {nearest(objective, known)}"
            raise RequestError(msg)
        value = summary[objective]["value"]
        if isinstance(value, str):
            raise RequestError(f"the objective {objective!r} is a word ({value}), not a number")
        out.append(float("nan") if value is None else float(value))
    return out


def _tell(
    study: Any,
    trial: Any,
    objectives: Sequence[Objective],
    condition: Condition,
    found: StudyResult,
) -> None:
    failed = {record.key: record for record in found.failures}
    if condition.key in failed:
        tell(study, trial, failed[condition.key].error)
        return
    facts = Ledger(found.folder).facts(condition.key)
    values = values_of(facts, objectives)
    fine = all(isfinite(value) for value in values)
    tell(study, trial, values if fine else _reasons(facts, objectives, values))


def _reasons(
    facts: Mapping[str, Any], objectives: Sequence[Objective], values: Sequence[float]
) -> str:
    words = []
    for objective, value in zip(objectives, values, strict=True):
        if not isfinite(value):
            named = isinstance(objective, str)
            why = facts["summary"][objective].get("reason", "") if named else str(value)
            words.append(f"{objective if named else 'objective'}: {why}")
    return "; ".join(words)


def _check(study: Any, objectives: Sequence[Objective], trials: int, batch: int) -> None:
    if trials < 1 or batch < 1:
        raise RequestError(f"trials is {trials}, batch {batch}: use whole numbers of at least 1")
    if isinstance(objectives, str) or len(study.directions) != len(objectives):
        msg = f"{len(study.directions)} directions for the objectives {objectives!r}: give a list"
        raise RequestError(msg)
