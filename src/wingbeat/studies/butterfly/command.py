"""The command line that runs a plan of the spawn-and-perturb study again."""

from __future__ import annotations

import json
import shlex
from typing import Any

from wingbeat.studies.butterfly.plan import Plan, quick_plan


def command_of(plan: Plan) -> str:
    """Return the command line that runs a plan.

    >>> command_of(quick_plan(Plan("mnist-mlp", {"epochs": 2})))
    'wingbeat study butterfly mnist-mlp --quick --arg epochs=2'
    """
    usual = Plan(plan.task)
    usual = quick_plan(usual) if plan.quick else usual
    words = ["wingbeat study butterfly", shlex.quote(plan.task)]
    words += ["--quick"] * plan.quick
    if plan.budget is not None:
        words.append(f"--budget {plan.budget:g}")
    lists = {"times": plan.times, "scales": plan.sizes}
    usual_lists = {"times": usual.times, "scales": usual.sizes}
    for name, values in lists.items():
        if values != usual_lists[name]:
            words.append(f"--{name} {','.join(f'{v:g}' for v in values)}")
    if plan.kinds != usual.kinds:
        words.append(f"--kinds {','.join(str(k) for k in plan.kinds)}")
    for name in (
        "replicas",
        "seeds",
        "fraction",
        "exclude",
        "head",
        "snapshots",
        "driver",
        "eval_samples",
    ):
        if getattr(plan, name) != getattr(usual, name):
            shown = 0 if getattr(plan, name) is None else getattr(plan, name)
            words.append(f"--{name.replace('_', '-')} {shlex.quote(str(shown))}")
    if plan.interventions != usual.interventions:
        words += [f"--intervention {shlex.quote(name)}" for name in plan.interventions]
    if plan.measures != usual.measures:
        words.append(f"--measures {','.join(plan.measures) or 'none'}")
    words += [f"--arg {shlex.quote(f'{k}={_plain(v)}')}" for k, v in plan.arguments.items()]
    return " ".join(words)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
