"""Fine-tuning as tasks: what they compute, that they run under the engine, and the study's axes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_checkpoint import write_bert

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.landscape.data import select_samples
from wingbeat.studies.butterfly.grid import Cell, GridKind, confined, parse_kinds
from wingbeat.studies.butterfly.plan import ButterflyPlan, conditions
from wingbeat.tasks.data.tokens import ByteTokenizer
from wingbeat.tasks.gsm8k import gsm8k
from wingbeat.tasks.models.language import (
    SentenceClassifier,
    answer_loss,
    final_scores,
    final_token,
    pooled,
)
from wingbeat.tasks.sst2 import sst2

LONG = {"samples": 48, "length": 12, "batch_size": 8, "steps": 6, "lr": 1e-2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WINGBEAT_DATA", raising=False)
    monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path))
    monkeypatch.setenv("WINGBEAT_OFFLINE", "1")


def small(folder: str, **changed: object) -> wb.Task:
    task = sst2(folder, **{**LONG, "barrier_samples": 20, **changed})
    return replace(task, eval_data=select_samples(task.eval_data, 24))


def tiny_gpt(**changed: object) -> wb.Task:
    own = {"width": 8, "layers": 1, "heads": 1, "length": 160, "samples": 16, "batch_size": 4}
    return gsm8k(**{**own, "test_samples": 8, "steps": 4, **changed})


def of_layer(table, layer: str, step: int = 0):
    return table[(table.metric == "l2") & (table.layer == layer) & (table.step == step)]


def test_perturbing_a_part_leaves_the_other_untouched(folder: str) -> None:
    head, body = (
        wb.Gaussian(**{k: v for k, v in found.items() if k not in ("kind",)})
        for found in (
            Cell(f"gaussian.{part}", 0.1, 0.0).perturbation(6, 0, fraction=0.01, exclude="")
            for part in ("head", "body")
        )
    )
    result = wb.run(
        small(folder, dropout=True),
        [head, body],
        replicas=2,
        metrics=("l2", "accuracy", "disagreement", "barrier"),
        record_every=3,
        driver="loop",
        progress=False,
    )
    assert result.noise_floor == 0.0  # with dropout: twins share their masks
    table = result.table
    names = [n for n in table.layer.unique() if n and not n.startswith("alpha")]
    assert "head.weight" in names
    for name in names:
        found = of_layer(table, name)
        moved = {p: found[found.perturbation == p].value for p in (head.name, body.name)}
        of_head = name.startswith("head.")
        assert (moved[head.name] > 0).all() == of_head
        assert (moved[body.name] > 0).all() == (not of_head)
    last = of_layer(table, "", 6)
    assert (last[last.perturbation != ""].value > 0).any()
    assert table[table.metric == "accuracy"].value.between(0, 1).all()
    lines = table[(table.metric == "line_loss_train") & (table.b == f"{head.name}#1")]
    assert len(lines) == 11  # the points that the task asks for


@pytest.mark.slow
def test_lockstep_trains_the_same_task(folder: str) -> None:
    found = [
        wb.run(
            small(folder),
            [wb.Gaussian(0.1, at=0)],
            replicas=2,
            metrics=("l2", "eval_loss"),
            record_every=6,
            driver=driver,
            dtype=torch.float64,
            progress=False,
        )
        for driver in ("loop", "lockstep")
    ]
    ends = [f.table[(f.table.step == 6) & (f.table.layer == "")].value.dropna() for f in found]
    np.testing.assert_allclose(*ends, rtol=1e-8, atol=1e-12)
    assert found[1].noise_floor == 0.0


def test_the_kept_rows_train_to_the_same_predictions(folder: str) -> None:
    ends = []
    for vocabulary in ("used", "all"):
        task = small(folder, vocabulary=vocabulary, weight_decay=0.0)
        result = wb.run(
            task,
            [wb.Gaussian(0.1, at=0, include="head")],
            replicas=1,
            metrics=("eval_loss",),
            record_every=6,
            driver="loop",
            dtype=torch.float64,
            progress=False,
        )
        ends.append(result.table[result.table.metric == "eval_loss"].value)
    np.testing.assert_allclose(*ends, rtol=1e-9)
    sizes = [
        sum(p.numel() for p in small(folder, vocabulary=v).model().parameters())
        for v in ("used", "all")
    ]
    assert sizes[0] < sizes[1]


def test_sentences_are_cut_or_left_out(folder: str) -> None:
    cut, less = small(folder), small(folder, longer="leave out", length=18, samples=300)
    assert cut.data[0].shape == (48, 2, 12)
    assert (cut.data[0][:, 1].sum(1) >= 2).all()
    marks = cut.data[0][:, 0][torch.arange(48), cut.data[0][:, 1].sum(1) - 1]
    assert len(marks.unique()) == 1  # the end mark is kept
    assert 0 < len(less.data[0]) < 300
    assert "stand-in" in less.name


def test_training_lowers_the_loss(folder: str) -> None:
    task = small(folder, steps=15, samples=16, batch_size=16, pooling="first", lr=0.03)
    result = wb.run(
        task,
        [wb.Gaussian(0.01, at=0)],
        replicas=1,
        metrics=("train_loss",),
        record_every=15,
        driver="loop",
        progress=False,
    )
    table = result.table[result.table.metric == "train_loss"]
    assert len(table)
    assert table.value.max() < 0.65  # the mean over training; chance is ln 2 = 0.693


def test_the_answer_alone_is_learned() -> None:
    torch.manual_seed(0)
    task = tiny_gpt()
    model = task.model().double().requires_grad_(requires_grad=False)
    batch = tuple(t[:3] for t in task.data)
    inputs, answered, place = batch
    logs = torch.log_softmax(model(inputs), -1)
    terms = [
        -float(logs[i, t - 1, inputs[i, 0, t]])
        for i in range(3)
        for t in range(1, inputs.shape[-1])
        if answered[i, t]
    ]
    assert float(answer_loss(model, batch)) == pytest.approx(np.mean(terms), rel=1e-12)
    for i in range(3):
        text = ByteTokenizer()
        row, own = inputs[i, 0], answered[i].bool()
        assert text.text(row[: int(own.int().argmax())].tolist()).endswith("Answer:")
        answer = text.text(row[own].tolist())
        assert answer.startswith(" ")
        final = text.text(row[int(place[i]) :].tolist())
        assert answer.endswith(f"\n#### {final}")
        assert int(final) >= 0
        expected = model(inputs)[i, int(place[i]) - 1]
        torch.testing.assert_close(final_scores(model, batch)[i], expected)
        assert int(final_token(batch)[i]) == int(row[place[i]])


def test_a_language_model_runs() -> None:
    result = wb.run(
        tiny_gpt(),
        [wb.Gaussian(0.1, at=2)],
        replicas=2,
        metrics=("l2", "accuracy", "disagreement"),
        record_every=4,
        driver="loop",
        progress=False,
    )
    assert result.noise_floor == 0.0
    assert result.table[result.table.metric == "accuracy"].value.between(0, 1).all()


@pytest.mark.parametrize(("pooling", "expected"), [("mean", 2.0), ("first", 1.0), ("last", 3.0)])
def test_pooling_reads_real_tokens_only(pooling, expected: float) -> None:
    states = torch.tensor([[[1.0], [3.0], [torch.finfo(torch.float32).max]]])
    assert pooled(states, torch.tensor([[1, 1, 0]]), pooling).item() == expected


def test_the_study_has_checkpoints_and_parts_as_axes(folder: str) -> None:
    plan = ButterflyPlan(
        "sst2-minilm",
        {**LONG, "checkpoint": folder, "architecture": folder},
        times=(0.0, 0.5),
        sizes=(0.1,),
        kinds=confined(
            [GridKind("gaussian"), GridKind("single.head", (0.1,), (0.0,))], ["body", "head"]
        ),
        seeds=1,
        replicas=3,
        interventions=("standard", "checkpoint=random", "lr=0.001"),
        measures=(),
    )
    names = [c.name for c in plan.cells]
    assert names[0] == "gaussian.body-0.1@0"
    assert names[-1] == "single.head-0.1@0"
    grid = conditions(plan)
    given = [c.arguments["arguments"] for c in grid]
    assert [g["checkpoint"] for g in given] == [folder, "random", folder]
    assert given[2]["lr"] == 0.001
    assert "random weights" in str(grid[1].tags["task"])
    assert {c.driver for c in grid} == {"loop"}
    with pytest.raises(RequestError, match="did you mean 'checkpoint'"):
        conditions(replace(plan, interventions=("chekpoint=random",)))
    with pytest.raises(RequestError, match="no tensor is left"):
        conditions(replace(plan, head="nothing_is_called_so"))


@pytest.mark.parametrize("text", ["gaussian.hed", "gaussian.", "gauss.head"])
def test_an_unknown_part_is_named(text: str) -> None:
    with pytest.raises(RequestError, match=r"kind"):
        parse_kinds(text)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"longer": "drop"}, "longer"),
        ({"vocabulary": "some"}, "vocabulary"),
        ({"warmup": 0.0}, "warmup"),
        ({"length": 1}, "length"),
        ({"steps": 0}, "steps"),
        ({"length": 2, "longer": "leave out"}, "no sentence"),
        ({"barrier_points": 10}, "odd"),
        ({"barrier_samples": 0}, "samples"),
    ],
)
def test_bad_values_of_sst2_are_named(folder: str, change, word: str) -> None:
    with pytest.raises(RequestError, match=word):
        sst2(folder, **{**LONG, **change})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"samples": 10**6}, "samples"),
        ({"length": 20}, "raise length"),
        ({"width": 9, "heads": 2}, "heads"),
        ({"checkpoint": "nowhere"}, "nothing is downloaded"),
    ],
)
def test_bad_values_of_gsm8k_are_named(change, word: str) -> None:
    with pytest.raises(RequestError, match=word):
        tiny_gpt(**change).model()


def test_an_unknown_pooling_is_named() -> None:
    with pytest.raises(RequestError, match="pooling"):
        SentenceClassifier(torch.nn.Identity(), 4, pooling="max")
