"""The study of checkpoints: verdicts on planted runs, its measures by hand, and a small run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from published import file_of, small_run

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.studies.which_checkpoint import STUDY, CheckpointPlan
from wingbeat.studies.which_checkpoint.claims import claims
from wingbeat.studies.which_checkpoint.found import VALUES, links, runs_of, seeds_of, tables_of
from wingbeat.studies.which_checkpoint.measure import joined, log_growth, replaced
from wingbeat.studies.which_checkpoint.plan import NUDGE, ORDER, SMALL
from wingbeat.study.analysis import Analysis
from wingbeat.tasks.small_mnist import small_mnist_task

STEPS = (0, 10, 50, 100, 200)


def planted(
    seeds=6, *, calmer=1.0, gain=0.0, tuned=0.0, beside=0.0, best=None, noise=0.001, lost=()
):
    """Plant growth that falls with the checkpoint, and what follows from it or from time alone.

    ``calmer``: e-folds that each checkpoint is calmer than the one before; ``gain`` and ``tuned``:
    what an e-fold adds to the gain of averaging and to accuracy after fine-tuning, and ``beside``
    the same of what is a base seed's own at one checkpoint; ``best``: checkpoint from which alone
    fine-tuning is good.
    """
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for place, at in enumerate(STEPS):
            own = 0.1 * rng.normal()
            growth = -calmer * place + own
            row = dict.fromkeys(VALUES, 0.5)
            row |= {
                "log_growth": growth,
                "gain_loss": gain * growth + beside * own + noise * rng.normal(),
                "average_accuracy": 0.9 + 0.001 * rng.normal(),
                "tuned_accuracy": 0.8 + tuned * growth + beside * own + noise * rng.normal(),
            }
            if best is not None:
                row["tuned_accuracy"] += 0.1 * (at == best)
            if (seed, at) in lost:
                row = dict.fromkeys(VALUES, math.nan)
            rows.append({"net": "dense", "at": at, "seed": seed, **row})
    return pd.DataFrame(rows)


def verdicts(**how):
    found = Analysis(CheckpointPlan(), None, {"seeds": seeds_of(planted(**how))})
    return {c.ident.removesuffix("-dense"): c.verdict for c in claims(found)}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, {"last-least": "holds", "calmer-with-time": "holds", "pick-to-tune": "holds",
              "pick-to-average": "holds"}),
        ({"calmer": -1.0}, {"last-least": "fails", "calmer-with-time": "fails"}),
        ({"gain": 0.1, "noise": 0.06}, {"averaging": "holds"}),
        ({"gain": -0.1, "noise": 0.06}, {"averaging": "fails"}),
        ({"tuned": -0.1, "noise": 0.06}, {"tuning": "holds"}),
        ({"tuned": 0.1, "noise": 0.06}, {"tuning": "fails", "pick-to-tune": "fails"}),
        # What a base seed has of its own at one checkpoint is seen apart from what time does.
        ({"gain": 0.15, "beside": -1.0, "noise": 0.06},
         {"averaging": "holds", "averaging-beside": "fails", "tuning-beside": "holds"}),
        ({"beside": 1.0, "noise": 0.04}, {"averaging-beside": "holds", "tuning-beside": "fails"}),
        ({"best": 50}, {"pick-to-tune": "fails", "better-than-last": "undetermined"}),
        ({"calmer": -1.0, "best": 0}, {"better-than-last": "holds"}),
        # A run that broke down leaves what needs it open, and says so.
        ({"lost": [(0, 10)]}, {"last-least": "undetermined", "pick-to-tune": "undetermined"}),
    ],
)  # fmt: skip
def test_verdicts_on_planted_runs(how, expected):
    found = verdicts(**how)
    assert {claim: found[claim] for claim in expected} == expected


def test_the_best_checkpoint_is_chosen_by_the_other_base_seeds():
    """Where none is best, the least sensitive gives nothing away on average: no luck counts."""
    runs = planted(40)
    runs["tuned_accuracy"] = np.random.default_rng(0).normal(0.8, 0.05, len(runs))
    given = seeds_of(runs)["lost_tuned"]
    assert abs(given.mean()) < 3 * given.std() / len(given) ** 0.5
    own_best = runs.groupby("seed")["tuned_accuracy"].max().mean() - 0.8
    assert own_best > 0.04  # what the best of its own numbers would have said


def test_links_are_spearmans():
    from scipy.stats import spearmanr

    runs = planted(3, gain=0.1)
    own = [
        spearmanr(one["log_growth"], one["gain_loss"]).statistic for _, one in runs.groupby("seed")
    ]
    table = links(runs).set_index(["sensitivity", "use"])
    assert table.loc[("log_growth", "gain_loss"), "along"] == pytest.approx(np.mean(own))


@pytest.fixture(scope="module")
def small():
    """Return a task, and a run of it with the copies of the study."""
    task = small_mnist_task("dense", (6,), 0.05, 8, digits="first", optimizer="sgd", samples=200)
    forks = [wb.Gaussian(0.1, at=3, name=NUDGE), wb.DataOrder(at=3, name=ORDER)]
    metrics = ("l2", "eval_loss", "accuracy")
    return task, wb.run(task, forks, replicas=2, driver="loop", record_every=8, metrics=metrics)


def weights_of(result, label, step):
    snapshot = result.trajectory.at(step)
    place = snapshot.labels.index(label)
    return {name: tensor[place] for name, tensor in snapshot.params.items()}


def scores_of(task, weights):
    net = task.model()
    net.load_state_dict(weights)
    return torch.nn.functional.cross_entropy(net(task.eval_data[0]), task.eval_data[1]).item()


def test_growth_is_that_of_distances_by_hand(small):
    _, result = small
    logs = []
    for label in (f"{NUDGE}#1", f"{NUDGE}#2"):
        ends = []
        for step in (3, 8):
            mine, other = (weights_of(result, name, step) for name in (label, "reference"))
            ends.append(math.sqrt(sum(float((mine[k] - other[k]).square().sum()) for k in mine)))
        logs.append(math.log(ends[1] / ends[0]))
    assert log_growth(result.table, NUDGE) == pytest.approx(np.mean(logs), rel=1e-5)


def test_the_average_and_its_gain_by_hand(small):
    task, result = small
    copies = [weights_of(result, f"{ORDER}#{i}", 8) for i in (1, 2)]
    middle = {name: (copies[0][name] + copies[1][name]) / 2 for name in copies[0]}
    single = [scores_of(task, own) for own in copies]
    found = joined(task, result)
    assert found["average_loss"] == pytest.approx(scores_of(task, middle), rel=1e-5)
    assert found["member_loss"] == pytest.approx(np.mean(single), rel=1e-5)
    assert found["gain_loss"] == pytest.approx(np.mean(single) - scores_of(task, middle), abs=1e-6)


def test_a_fine_tuned_net_has_the_checkpoint_s_body_and_a_head_of_its_own(small):
    task, result = small
    weights = weights_of(result, "reference", 3)
    torch.manual_seed(0)
    net = replaced(task, weights, 0).model()
    same = [torch.equal(p, weights[name]) for name, p in net.named_parameters()]
    assert same == [True, True, False, False]


@pytest.mark.parametrize(
    "wrong",
    [{"shares": (0.0, 0.5, 1.0)}, {"shares": (0.0, 0.5, 0.5001, 1.0)}, {"nets": ("mlp",)},
     {"shares": (0.0, 0.5, 0.7, 2.0)}, {"scale": 0.0}, {"replicas": 1}, {"seeds": 0}],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(wrong):
    with pytest.raises(RequestError):
        CheckpointPlan(**wrong)


def test_a_small_run_has_a_page_and_tables_that_follow_from_it(tmp_path: Path):
    found = small_run("which_checkpoint", tmp_path)
    runs = found.tables["runs"]
    assert runs_of(found.study.conditions).equals(runs)
    assert runs["at"].tolist() == [0, 2, 4, 8]
    assert np.isfinite(runs[list(VALUES)]).all(axis=None)
    assert [c.ident for c in found.claims][:2] == ["last-least-dense", "calmer-with-time-dense"]
    assert "what a sceptic would say" in (tmp_path / "report.html").read_text(encoding="utf-8")
    again = tables_of(pd.read_csv(tmp_path / "runs.csv"))
    pd.testing.assert_frame_equal(again["seeds"], found.tables["seeds"])
    first = STUDY.conditions(file_of("which_checkpoint", quick=True).plan)[0]
    assert {SMALL, NUDGE, ORDER} == {p["name"] for p in first.perturbations}
