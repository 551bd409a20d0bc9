"""The study of useful perturbations: verdicts on planted ensembles, equal cost, a small run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from published import small_run

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.studies.useful_perturbations import STUDY, UsefulPlan
from wingbeat.studies.useful_perturbations.claims import claims
from wingbeat.studies.useful_perturbations.found import VALUES, runs_of, seeds_of, tables_of
from wingbeat.studies.useful_perturbations.measure import numbers_of
from wingbeat.studies.useful_perturbations.plan import AT_START, affordable, kinds
from wingbeat.study.analysis import Analysis
from wingbeat.tasks.small_mnist import small_mnist_task

PLAN = UsefulPlan()


def planted(seeds=6, *, falls=0.0, larger=0.0, order=1.0, kind=0.0, long=0.9, lost=False):
    """Plant gains of 0.1 in loss that fall with the time of the fork, by kind, by size.

    ``falls``: share of the gain that half a training takes; ``larger``: what the largest nudge
    gains beyond the smallest; ``order``: gain of another order ÷ another start's; ``kind``: what
    each further kind gains; ``long``: accuracy of the single net that is trained long.
    """
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for time in PLAN.times:
            for place, one in enumerate(kinds(PLAN, round(time * PLAN.steps))):
                name = one["name"]
                gain = 0.1 * (order if name == "order" else 1.0) - 0.1 * falls * 2 * time
                gain += kind * place + larger * (place if place < len(PLAN.sizes) else 0) / 2
                gain += 0.002 * rng.normal()
                row = {value: 0.9 + 0.001 * rng.normal() for value in VALUES}
                row |= {"gain_loss": gain, "loss": 0.5 - gain, "disagreement": gain}
                row |= {"members": affordable(4, time), "time": time, "perturbation": name}
                rows.append({"net": "cnn", "seed": seed, **row})
        for name in ("single", "long"):
            row = {"perturbation": name, "time": 0.0, "members": 1, "loss": 0.45}
            row["accuracy"] = long + 0.001 * rng.normal()
            if lost and seed == 0:
                row["accuracy"] = math.nan
            rows.append({"net": "cnn", "seed": seed, **row})
    return pd.DataFrame(rows)


def verdicts(**how):
    found = Analysis(PLAN, None, {"seeds": seeds_of(planted(**how))})
    return {c.ident.removesuffix("-cnn"): c.verdict for c in claims(found)}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"long": 0.85}, {"better-than-long": "holds", "half-better-than-long": "holds"}),
        ({"long": 0.95}, {"better-than-long": "fails", "half-better-than-long": "fails"}),
        ({}, {"order-is-enough": "holds", "nudge-is-enough": "holds", "calibrated": "holds"}),
        ({"order": 0.3}, {"order-is-enough": "fails", "nudge-is-enough": "holds"}),
        ({"falls": 0.8}, {"later-is-worse": "holds", "half-is-worse": "holds",
                          "when-over-what": "holds", "apart-gains": "undetermined"}),
        ({"falls": -0.8}, {"later-is-worse": "fails", "half-is-worse": "fails"}),
        ({"larger": 0.05}, {"larger-at-start": "holds", "larger-late": "holds"}),
        ({"larger": -0.05}, {"larger-at-start": "fails", "larger-late": "fails"}),
        ({"kind": 0.05}, {"when-over-what": "fails", "nudge-is-enough": "fails"}),
        # A net that broke down leaves open what needs it, and nothing else.
        ({"long": 0.85, "lost": True}, {"better-than-long": "undetermined",
                                        "order-is-enough": "holds"}),
    ],
)  # fmt: skip
def test_verdicts_on_planted_ensembles(how, expected):
    found = verdicts(**how)
    assert {claim: found[claim] for claim in expected} == expected


@pytest.mark.parametrize("members", [2, 4, 7])
def test_every_ensemble_costs_at_most_what_nets_cost_that_share_nothing(members):
    for share in (0.0, 0.02, 0.1, 0.5, 0.75):
        count = affordable(members, share)
        assert share + count * (1 - share) <= members + 1e-9
        assert share + (count + 1) * (1 - share) > members
        assert count >= members


def test_the_long_net_is_trained_for_as_many_updates_as_all_members():
    plan = UsefulPlan(("cnn",), members=3, steps=50, seeds=1)
    *forked, long = STUDY.conditions(plan)
    assert long.arguments["steps"] == 3 * 50
    assert [c.replicas for c in forked] == [3, 3, 3, 5]
    assert [{p["at"] for p in c.perturbations} for c in forked] == [{0}, {1}, {5}, {25}]
    assert set(AT_START) <= {p["name"] for p in forked[0].perturbations}
    assert not set(AT_START) & {p["name"] for p in forked[1].perturbations}
    still = STUDY.conditions(UsefulPlan(("cnn",), shifts=False, seeds=1))[0]
    assert "shifts" not in {p["name"] for p in still.perturbations}
    assert not still.arguments["shifts"]


def test_numbers_of_an_ensemble_by_hand():
    task = small_mnist_task("dense", (6,), 0.05, 6, samples=100, shifts=True)
    metrics = ("relative_l2", "eval_loss", "accuracy", "disagreement", "ensemble")
    forks = [wb.Gaussian(0.5, name="nudge 0.5"), wb.DataOrder(name="order")]
    result = wb.run(task, forks, replicas=3, driver="loop", record_every=6, metrics=metrics)
    snapshot, (x, y) = result.trajectory.at(6), task.eval_data
    chances = []
    for place, label in enumerate(snapshot.labels):
        if label.startswith("order#"):
            net = task.model()
            net.load_state_dict({name: t[place] for name, t in snapshot.params.items()})
            chances.append(torch.softmax(net(x), dim=1).detach())
    joint = torch.stack(chances).mean(dim=0)
    single = [float(torch.nn.functional.nll_loss(p.log(), y)) for p in chances]
    found = numbers_of(result.table, "order", 6)
    assert len(chances) == 3
    assert found["member_loss"] == pytest.approx(np.mean(single), rel=1e-5)
    assert found["loss"] == pytest.approx(
        float(torch.nn.functional.nll_loss(joint.log(), y)), rel=1e-5
    )
    assert found["accuracy"] == pytest.approx(
        float((joint.argmax(1) == y).float().mean()), abs=1e-6
    )
    assert found["gain_loss"] > 0


@pytest.mark.parametrize(
    "wrong",
    [{"times": (0.1, 0.2, 0.5, 0.9)}, {"times": (0.0, 0.5, 0.9)}, {"times": (0.0, 0.1, 0.5, 1.0)},
     {"times": (0.0, 0.0001, 0.1, 0.5)}, {"nets": ("mlp",)}, {"sizes": ()}, {"sizes": (0.1, 0.1)},
     {"members": 1}, {"seeds": 0}, {"images": 0}, {"driver": "auto"}],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(wrong):
    with pytest.raises(RequestError):
        UsefulPlan(**wrong)


def test_a_small_run_has_a_page_and_tables_that_follow_from_it(tmp_path: Path):
    found = small_run("useful_perturbations", tmp_path)
    runs = found.tables["runs"]
    assert runs_of(found.study.conditions).equals(runs)
    assert runs.groupby("perturbation").size().to_dict() == {
        "all else": 1, "another start": 1, "long": 1, "nudge 0.1": 4, "one weight": 4, "order": 4,
        "shifts": 4, "single": 1,
    }  # fmt: skip
    assert np.isfinite(runs[["loss", "accuracy"]]).all(axis=None)
    assert len(found.claims) == 12
    assert "what a sceptic would say" in (tmp_path / "report.html").read_text(encoding="utf-8")
    again = tables_of(pd.read_csv(tmp_path / "runs.csv"))
    pd.testing.assert_frame_equal(again["seeds"], found.tables["seeds"])
