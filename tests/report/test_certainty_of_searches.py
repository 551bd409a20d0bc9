"""What searches and studies say of their certainty, each with a case where it must not be said.

A row: a piece of the sentence, the text of a case where it is true, and those where it is false.
The run's own sentences are in ``test_certainty``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import pandas as pd
import pytest
import torch
from dynamics_cases import made
from torch import nn

import wingbeat as wb
from wingbeat.analyses.noise_sources import plan_seeds
from wingbeat.analyses.noise_sources.available import absent
from wingbeat.analyses.onset.outcome import (
    Cost,
    Onset,
    Rule,
    Trial,
    answer,
    trial_table,
    value_table,
    warnings_of,
)
from wingbeat.cli.onset import _words as onset_printed
from wingbeat.report.pages.finding import page_of
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.page import content, headline
from wingbeat.study.analysis import Analysis
from wingbeat.study.verdicts import Claim, counted, judge, together
from wingbeat.task.batches import Batches
from wingbeat.task.step import TrainingStep

CANDIDATES = (0, 10, 20, 30)


def onset(left: dict[int, int], *, n: int = 6, noise: float = 0.0, moved: int = 6) -> str:
    """What the command line prints of a search: of ``n`` replicas so many left at each step."""
    rule = Rule("l2", threshold=0.5, share=0.5, confidence=0.95)
    trials = {
        step: Trial(
            step,
            tuple(1.0 if i < count else 0.0 for i in range(n)),
            (0.1,) * n,
            tuple(i < moved for i in range(n)),
            noise,
        )
        for step, count in left.items()
    }
    found = answer(CANDIDATES, rule, trials)
    return onset_printed(
        Onset(
            status=found.status, step=found.step, low=found.where.low, high=found.where.high,
            reason=found.reason, monotone=not found.where.against, confidence=0.95,
            joint_confidence=0.8, table=trial_table(rule, trials),
            values=value_table(rule, trials), metric="l2", threshold=0.5, share=0.5,
            cost=Cost(0, 0, 0, 0, (1, 4), 4, n), spent=0, noise_floor=noise,
            warnings=tuple(warnings_of(found.where, trials, noise)), condition={}, environment={},
        )
    )  # fmt: skip


FOUND = {0: 6, 10: 6, 20: 0, 30: 0}
EARLY = {0: 0, 30: 0}
NEVER = {0: 6, 30: 6}
OPEN = {0: 6, 10: 3, 20: 0, 30: 0}
LATE = {0: 6, 30: 3}
BACK = {0: 0, 10: 6, 20: 0, 30: 0}

POINTS = (torch.randn(16, 3, generator=torch.Generator().manual_seed(0)),)


def why_absent(source: str, *, dropout: bool = False, drawn: bool = True, **task: object) -> str:
    def build() -> nn.Module:
        layers = [nn.Linear(3, 2), *([nn.Dropout(0.5)] if dropout else [])]
        if not drawn:
            for p in layers[0].parameters():
                nn.init.constant_(p, 0.5)
        return nn.Sequential(*layers)

    own = wb.Task(
        build,
        lambda m, batch: m(batch[0]).square().mean(),
        POINTS,
        partial(torch.optim.SGD, lr=0.1),
        batch_size=8,
        steps=4,
        **task,
    )
    cpu = torch.device("cpu")
    step = TrainingStep(own, torch.float32, cpu)
    return absent(source, step, Batches(own, torch.float32, cpu))


SURE, NEAR = Estimate(9.0, 8.9, 9.1), Estimate(2.0, 0.5, 2.95)


def study(*estimates: Estimate | None) -> str:
    claims = [
        Claim(str(i), f"Claim {i}.", "", "1", judge(e, 1.0, above=True))
        for i, e in enumerate(estimates)
    ]
    return counted(claims)


def dynamics(ratio: float, seeds: int = 5) -> str:
    def one(architecture: object, seed: int) -> float:
        return ratio * (1.0 + 0.01 * seed)

    return headline(made(one, seeds=seeds))


PLAN = plan_seeds(0.002, 0.001, 0.008, 0.005).sentence()
NO_PLAN = plan_seeds(0.002, 0.001, math.inf, 0.005).sentence()

TABLE: dict[str, tuple[str, Sequence[str]]] = {
    "stable from step 20 on; at step 10 not yet": (
        onset(FOUND),
        [onset(EARLY), onset(NEVER), onset(OPEN), onset(LATE)],
    ),
    "stable from step 0 on, the first that was tried": (
        onset(EARLY),
        [onset(FOUND), onset(NEVER), onset(BACK), onset({0: 1, 30: 0})],
    ),
    "not stable at step 30, the last candidate": (onset(NEVER), [onset(FOUND), onset(LATE)]),
    "undetermined between step 0 and step 20": (onset(OPEN), [onset(FOUND), onset(BACK)]),
    "undetermined between step 0 and the end": (onset(LATE), [onset(FOUND), onset(NEVER)]),
    "undetermined between the first candidate and": (
        onset({0: 3, 30: 0}),
        [onset(FOUND), onset(EARLY), onset(OPEN)],
    ),
    "does not repeat itself": (onset(FOUND, noise=1e-6), [onset(FOUND)]),
    "Stability is not monotone": (onset(BACK), [onset(FOUND), onset(OPEN)]),
    "vanished in rounding": (onset(FOUND, moved=5), [onset(FOUND)]),
    "plan 42 seeds of each recipe": (PLAN, [NO_PLAN]),
    "which have a chance of 0.12": (PLAN, [NO_PLAN]),
    "too few runs to say how many seeds": (NO_PLAN, [PLAN]),
    "the model starts from the same weights": (
        why_absent("init", drawn=False),
        [why_absent("init")],
    ),
    "reads its data in order": (
        why_absent("order", sampling="sequential"),
        [why_absent("order")],
    ),
    "the task has no augmentation": (
        why_absent("augmentation"),
        [why_absent("augmentation", augment=lambda batch, draws: batch)],
    ),
    "draws no random numbers in training": (
        why_absent("dropout"),
        [why_absent("dropout", dropout=True)],
    ),
    "1 holds, 0 do not and 0 stay undetermined": (study(SURE), [study(NEAR), study(SURE, SURE)]),
    "0 hold, 0 do not and 1 stays undetermined": (study(NEAR), [study(SURE), study(None)]),
    "Nothing that a claim speaks of is finished": (study(None), [study(SURE), study(NEAR)]),
    "farther apart in 21 and closer together in 0": (
        dynamics(8.0),
        [dynamics(1.0), dynamics(0.1), dynamics(8.0, seeds=1)],
    ),
    "farther apart in 0 and closer together in 21": (dynamics(0.1), [dynamics(1.0), dynamics(8.0)]),
    "21 are open": (dynamics(0.98), [dynamics(8.0), dynamics(0.1)]),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_it_is_said_where_it_is_true(sentence: str) -> None:
    assert sentence in TABLE[sentence][0]


@pytest.mark.parametrize(
    ("sentence", "number"), [(s, i) for s, (_, n) in TABLE.items() for i in range(len(n))]
)
def test_it_is_not_said_where_it_is_false(sentence: str, number: int) -> None:
    assert sentence not in TABLE[sentence][1][number]


def test_a_source_that_never_varied_is_given_no_plan() -> None:
    from wingbeat.cli.noise import _seeds

    table = pd.DataFrame({"quantity": ["accuracy"], "source": ["ulp"], "sd": [0.0]})
    found = type("Found", (), {"table": table})()
    assert _seeds(found, 0.01, 0.8) == {}  # type: ignore[arg-type]


def test_a_page_says_what_stays_decided_for_all_claims_together() -> None:
    """Beside the count of claims that hold each for itself; not where one claim was judged."""
    found = made(lambda a, seed: (2.0 + a.size) * (1.0 + 0.01 * seed))
    own = Analysis(found.plan, found.study, own=found)
    for estimates, said in (((SURE, NEAR, SURE), True), ((SURE,), False)):
        claims = tuple(
            Claim(str(i), "A.", "", "1", judge(e, 1.0, above=True)) for i, e in enumerate(estimates)
        )
        page = page_of(
            "x", content(own), Analysis(own.plan, own.study, own=found, claims=claims), ""
        )
        facts = {name: value for name, value, _ in page.facts}
        assert ("claims decided together" in facts) is said
        if said:
            assert facts["claims decided together"] == str(together(claims)[0])
