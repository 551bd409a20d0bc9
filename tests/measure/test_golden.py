"""Tables and summaries of four runs as they were before metrics declared themselves.

``golden.json`` holds for each run the number of rows by metric and reason, the sum of each
metric's values, and the summary, in float64 and one by one. It was made by the code of before,
and made anew when every base seed got draws of its own. Copies and growth came later; one verdict
became "undetermined" when its word began to ask for an interval of 99 %, and "divergent" again when
intervals of three copies became shorter; a projected ratio that was not measured went; the ends of
the spread's interval came.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from run.tasks import line, noisy, points, squares, two_forks

import wingbeat as wb

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
FIXED = {"replicas": 3, "record_every": 6, "driver": "loop", "dtype": torch.float64}
OUTPUTS = ("kl", "js", "logit_correlation", "ensemble", "disagreement", "accuracy", "eval_loss")
MODELS = ("l2", "barrier", "l2_aligned", "barrier_aligned", "soup", "fisher_kl", "cka")


def right(model, batch):
    return (model(batch[0]).argmax(-1) == batch[1]).double().mean()


def regression():
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    data = (x, x[:, 0])
    return noisy(model=line, loss=squares, data=data, eval_data=data)


def ran(name):
    task = noisy(eval_data=points(30, 1))
    own = noisy(eval_data=points(30, 1), eval_metrics={"right": right})
    metrics = [*OUTPUTS, "right", "train_loss"]
    return {
        "default_eval": lambda: wb.run(task, two_forks(0.3), **FIXED),
        "outputs": lambda: wb.run(own, two_forks(0.3), metrics=metrics, **FIXED),
        "models": lambda: wb.run(task, two_forks(0.3), metrics=MODELS, **FIXED),
        "regression": lambda: wb.run(
            regression(), wb.Gaussian(0.1), metrics=["barrier", *OUTPUTS], **FIXED
        ),
    }[name]()


@pytest.mark.parametrize("name", GOLDEN)
def test_nothing_has_changed_silently(name):
    found, there = ran(name), GOLDEN[name]
    table = found.table
    counts = (table.metric + " " + table.reason).str.strip().value_counts()
    assert counts.to_dict() == there["rows"]
    sums = table.groupby("metric").value.sum(min_count=1).dropna().to_dict()
    # Another processor rounds otherwise, and 24 steps amplify it: bits are not asked for.
    assert sums == pytest.approx(there["sums"], rel=1e-6, abs=1e-9)
    own = {k: entry for k, entry in found.summary.items() if "/" in k}
    assert own.keys() == there["summary"].keys()
    for key, (value, reason) in there["summary"].items():
        assert own[key]["reason"] == reason, key
        if isinstance(value, float):
            assert own[key]["value"] == pytest.approx(value, rel=1e-6, abs=1e-9), key
        else:
            assert own[key]["value"] == value, key
