"""Trials that Optuna proposes: asked, told, and gone through again from what is recorded.

A study whose conditions depend on what was found is still a function of its request: with a seeded
sampler the same trials follow from the same results, so that a search needs no memory of its own
besides the records of its conditions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Final

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition

Propose = Callable[[Any], Condition]
"""From a trial, whose ``suggest_…`` methods it calls, to the condition."""
Outcome = Sequence[float] | str
"""Objectives of a trial, or why it has none."""
KEY: Final = "wingbeat_condition"
REASON: Final = "wingbeat_reason"
"""Attributes of a trial: its condition's key, and why it has no value."""


def library() -> Any:
    """Return the module ``optuna``.

    Raises:
        RequestError: it is not installed.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise RequestError("the search needs Optuna: pip install 'wingbeat[sweeps]'") from error


def ask(study: Any, propose: Propose) -> tuple[Any, Condition]:
    """Return the next trial of an Optuna study and the condition that it stands for.

    Raises:
        RequestError: ``propose`` gives something else.
    """
    trial = study.ask()
    condition = propose(trial)
    if not isinstance(condition, Condition):
        raise RequestError(f"propose gave {type(condition).__name__}: return a Condition")
    trial.set_user_attr(KEY, condition.key)
    return trial, condition


def tell(study: Any, trial: Any, outcome: Outcome) -> None:
    """Tell an Optuna study what a trial gave; one without values is told as failed."""
    if not isinstance(outcome, str) and all(isfinite(value) for value in outcome):
        study.tell(trial, list(outcome))
        return
    why = outcome if isinstance(outcome, str) else "an objective is not finite"
    trial.set_user_attr(REASON, why)
    study.tell(trial, state=library().trial.TrialState.FAIL)


def replay(
    study: Any,
    propose: Propose,
    known: Callable[[Condition], Outcome | None],
    *,
    trials: int,
    batch: int,
) -> list[Condition]:
    """Go through a search from its first trial as far as its results are known.

    Trials are asked for in rounds, and told in their order when the whole round is known: what
    is proposed depends neither on the number of workers nor on where an earlier call ended.

    Args:
        study: a fresh one from ``optuna.create_study``, whose sampler has a seed. It holds the
            trials that are known afterwards.
        propose: from a trial to its condition.
        known: from a condition to what it gave; None if that is not known yet.
        trials: how many in all.
        batch: how many to a round.

    Returns:
        The conditions of the first round that is not known whole; none if all of them are.

    Raises:
        RequestError: trials or batch is below 1.
    """
    if trials < 1 or batch < 1:
        raise RequestError(f"trials is {trials}, batch {batch}: use whole numbers of at least 1")
    for begin in range(0, trials, batch):
        pairs = [ask(study, propose) for _ in range(min(batch, trials - begin))]
        found = [known(condition) for _, condition in pairs]
        if any(outcome is None for outcome in found):
            return [condition for _, condition in pairs]
        for (trial, _), outcome in zip(pairs, found, strict=True):
            tell(study, trial, outcome or "nothing was measured")
    return []
