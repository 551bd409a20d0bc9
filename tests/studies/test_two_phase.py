"""The study of two phases: what it reads off a run, and its verdicts on planted courses."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from published import DOCS, small_run
from torch import nn

import wingbeat as wb
from wingbeat.curvature.tangent import TangentKernel
from wingbeat.errors import RequestError
from wingbeat.metrics.kernel import kernel_angle
from wingbeat.studies.two_phase import TwoPhasePlan
from wingbeat.studies.two_phase.claims import chance_within, claims
from wingbeat.studies.two_phase.figures import chaos_map, courses, kernel_map
from wingbeat.studies.two_phase.fixed_kernel import fixed_kernel_accuracy
from wingbeat.studies.two_phase.found import Runs, tables
from wingbeat.studies.two_phase.measure import barriers, columns, elapsed_of, grid, kernels, way
from wingbeat.studies.two_phase.page import content
from wingbeat.studies.two_phase.plan import constant_rate
from wingbeat.study.analysis import Analysis
from wingbeat.task.step import TrainingStep
from wingbeat.tasks.cnn import digits_task

FORKS = (0, 8, 16, 32, 64, 128, 256, 512)
MOMENTS = (0, 8, 16, 32, 64, 128, 200, 256, 512, 800)
STEP = np.array([0.4] * 4 + [0.05] * 4)
SLOPE = 0.4 * 2.0 ** -np.linspace(0, 3, 8)
LEVEL = np.full(8, 0.2)
DTS = np.arange(8, 401, 8)


def one(
    seed,
    *,
    nudged=STEP,
    turn=STEP,
    way=LEVEL,
    slope=0.0,
    centred=0.0,
    late=0.9,
    start=0.5,
    stop=0.7,
):
    """Return what `measure` would store of one base seed, with a little noise of its own."""
    rng = np.random.default_rng(seed)
    jitter = lambda x, by=0.02: float(x * np.exp(by * rng.normal()))  # noqa: E731
    found = {"elapsed": 200.0, "resolution": 1e-4, "full": jitter(0.9, 0.002), "growth": 1.5}
    found |= {f"norm/{at}": 1.0 for at in MOMENTS}
    for place, at in enumerate(FORKS):
        found |= {
            f"nudge/{at}": 0.03,
            f"way/{at}": jitter(way[place]),
            f"turn/200/{at}": jitter(turn[place]),
            f"centred_turn/200/{at}": jitter(2 * turn[place]),
            f"turn/8/{at}": jitter(turn[place] / 5),
            f"centred_turn/8/{at}": jitter(turn[place] / 5),
            f"linearised/{at}": jitter(start if at < 64 else late, 0.002),
            f"stopped/{at}": jitter(stop, 0.002),
        }
        for end in {*(t for t in MOMENTS if t >= at), at + 200}:
            found[f"disagreement/{at}/{end}"] = jitter(nudged[place] if end > at else 0.01)
            found[f"dissimilarity/{at}/{end}"] = jitter(nudged[place] / 100)
        found |= {f"barrier/{at}/{end}": jitter(nudged[place]) for end in (at + 200, 800)}
    for a, b in combinations(MOMENTS, 2):
        found |= {f"angle/{a}/{b}": jitter(0.3), f"centred_angle/{a}/{b}": jitter(0.6)}
    found |= {"plateau": 0.01, "centred_plateau": 0.1}
    for prefix, mean in (("", slope), ("centred_", centred)):
        own = mean + 0.05 * rng.normal()
        found[f"{prefix}slope"] = own
        found |= {f"{prefix}structure/{dt}": float(0.01 * (dt / 8) ** own) for dt in DTS}
    return found


def judged(seeds=5, each=None, **planted):
    runs = tuple(one(s, **{**planted, **(each(s) if each else {})}) for s in range(seeds))
    found = Analysis(TwoPhasePlan(), None, own=Runs(runs, FORKS, 200, 800))
    found = replace(found, tables=tables(found))
    return replace(found, claims=claims(found))


def verdicts(found):
    return {c.ident: c.verdict for c in found.claims}


MOVED = np.roll(STEP, 2) + np.array([0.35, 0.35, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("claim", "planted", "verdict"),
    [
        ("transition-sensitivity", {}, "holds"),
        ("transition-sensitivity", {"nudged": LEVEL}, "fails"),
        ("transition-sensitivity", {"nudged": SLOPE}, "fails"),
        ("transition-sensitivity", {"nudged": STEP[::-1]}, "fails"),
        ("transition-turn", {}, "holds"),
        ("transition-turn", {"turn": LEVEL}, "fails"),
        ("transition-turn", {"turn": SLOPE}, "fails"),
        ("kernel-itself", {}, "holds"),
        ("kernel-itself", {"way": STEP}, "fails"),
        ("coincide", {}, "holds"),
        ("coincide", {"turn": MOVED}, "fails"),
        ("coincide", {"turn": STEP[::-1]}, "undetermined"),
        ("confined", {}, "holds"),
        ("confined", {"slope": 1.0}, "fails"),
        ("confined", {"slope": 0.4}, "fails"),
        ("confined", {"slope": -0.4}, "undetermined"),
        ("centred-confined", {"slope": 2.0}, "holds"),
        ("centred-confined", {"centred": 2.0}, "fails"),
        ("fixed-kernel-late", {}, "holds"),
        ("fixed-kernel-late", {"late": 0.8}, "fails"),
        ("fixed-kernel-late", {"stop": 0.95}, "fails"),
        ("fixed-kernel-at-start", {}, "holds"),
        ("fixed-kernel-at-start", {"start": 0.97}, "fails"),
    ],
)
def test_verdicts_on_planted_courses(claim, planted, verdict):
    assert verdicts(judged(**planted))[claim] == verdict


def test_one_base_seed_decides_nothing():
    assert set(verdicts(judged(1)).values()) == {"undetermined"}


def test_moments_of_all_seeds_must_agree_to_coincide():
    apart = judged(each=lambda s: {"turn": MOVED if s % 2 else STEP})
    assert verdicts(apart)["coincide"] == "undetermined"
    marks = apart.tables["marks"].set_index("name")["found"]
    assert marks["turn_doublings"] == pytest.approx((3 * 5.5 + 2 * 7.5) / 5, abs=0.05)
    assert marks["sensitivity_doublings"] == pytest.approx(5.5, abs=0.05)
    assert marks["doublings_apart"] == pytest.approx(-4 / 5, abs=0.05)


def test_the_tables_say_what_was_planted():
    found = judged().tables
    own = found["course"].set_index(["quantity", "elapsed", "step"])["mean"]
    assert own["turn", 200, 0] == pytest.approx(0.4, rel=0.05)
    assert own["turn", 8, 0] == pytest.approx(0.08, rel=0.05)
    assert own["turn_per_way", 200, 512] == pytest.approx(0.25, rel=0.05)
    assert own["sensitivity", 200, 512] == pytest.approx(0.05, rel=0.05)
    chaos = found["chaos"].set_index(["quantity", "nudged_at", "seen_at"])["mean"]
    assert chaos["barrier", 512, 800] == pytest.approx(0.05, rel=0.05)
    angles = found["kernel_map"].set_index(["first", "second"])["angle_degrees"]
    assert angles[0, 800] == pytest.approx(math.degrees(0.3), rel=0.05)
    marks = found["marks"].set_index("name")["found"]
    assert marks["plateau_degrees"] == pytest.approx(math.degrees(math.acos(0.99)))
    assert marks["sensitivity_fall"] == pytest.approx(3, abs=0.1)
    fixed = found["linearised"].set_index("at")
    assert fixed.loc[0, "gap"] == pytest.approx(0.4, abs=0.05)


def test_a_disagreement_below_resolution_counts_as_half_a_prediction():
    found = judged(nudged=STEP * (np.arange(8) < 7)).tables["course"]
    own = found[(found["quantity"] == "sensitivity") & (found["step"] == 512)]
    assert own["mean"].item() == 1e-4


def test_maps_hold_each_value_in_its_cell():
    found = judged()
    chaos, kernel = chaos_map(found.tables, found.own), kernel_map(found.tables, found.own, "angle")
    row, column = chaos.rows.index("64"), chaos.columns.index("512")
    assert chaos.values[row][column] == pytest.approx(5, rel=0.05)
    assert math.isnan(chaos.values[row][chaos.columns.index("32")])
    assert kernel.columns == kernel.rows == tuple(map(str, MOMENTS))
    assert [kernel.values[i][i] for i in range(10)] == [0.0] * 10
    assert kernel.values[2][5] == kernel.values[5][2] == pytest.approx(17.2, rel=0.05)
    assert kernel.texts[2][5] == "17"
    own = courses(found.tables, found.own).lines[0]
    assert own.y[0] / own.y[-1] == pytest.approx(8, rel=0.05)


def test_the_page_shows_every_part():
    found = judged()
    rows = pd.DataFrame([{"status": "done", "task": "digits", "seed": 0, "key": "k"}])
    study = type("Study", (), {"conditions": rows})()
    page = content(replace(found, study=study))
    assert [ident for ident, _, _ in page.sections] == [
        "chaos", "kernel", "courses", "confined", "fixed",
    ]  # fmt: skip
    assert not any(figure.empty for _, _, figures in page.sections for figure in figures)


# the plan


def test_the_plan():
    plan = TwoPhasePlan(steps=800)
    assert plan.forks == FORKS
    assert all(at + plan.elapsed <= plan.steps for at in plan.forks)
    assert chance_within(1.0, 6.0) == pytest.approx(11 / 36)
    with pytest.raises(RequestError, match="digits-cnn"):
        TwoPhasePlan("digits-cmn")
    for wrong in ({"steps": 3}, {"lr": 0.0}, {"momentum": 1.0}, {"replicas": 0}):
        with pytest.raises(RequestError, match="give"):
            TwoPhasePlan(**wrong)


def blind_task():
    return replace(digits_task(epochs=1), eval_data=None)


def test_a_task_without_evaluation_data_is_refused():
    options = {"steps": 20, "lr": 0.1, "momentum": 0.0, "eval_samples": 50}
    with pytest.raises(RequestError, match="eval_data"):
        constant_rate(f"{__name__}:blind_task", {}, **options)
    with pytest.raises(RequestError, match="cannot be called"):
        constant_rate("wingbeat.tasks.cnn:digits_task", {"depth": 3}, **options)


# what is read off a run


def small(net=None, **changes):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 4, generator=generator)
    y = (x[:, 0] > 0).long()
    task = wb.Task(
        model=net or (lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))),
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        data=(x, y),
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        batch_size=8,
        steps=16,
        eval_data=(x + 0.1, y),
    )
    return replace(task, **changes)


@pytest.fixture(scope="module")
def result():
    nudges = [wb.Gaussian(0.3), wb.Gaussian(0.3, at=4)]
    metrics = ("cosine", "disagreement", "accuracy", "train_loss")
    return wb.run(small(), nudges, replicas=2, record_every=2, metrics=metrics, driver="loop")


def outputs(task, snapshot, place):
    model = task.model()
    model.load_state_dict({k: t[place] for k, t in {**snapshot.params, **snapshot.buffers}.items()})
    return model(task.eval_data[0]).detach()


def test_the_grid_is_that_of_the_replicas(result):
    forks = {"gaussian-0.3@0": 0, "gaussian-0.3@4": 4}
    found = grid(result.table, forks, [2, 4, 16])
    assert "disagreement/4/2" not in found
    last, task = result.trajectory.at(16), small()
    named = {label: i for i, label in enumerate(last.labels)}
    copies = [named[f"gaussian-0.3@4#{i}"] for i in (1, 2)]
    classes = [outputs(task, last, i).argmax(1) for i in (0, *copies)]
    apart = np.mean([float((c != classes[0]).float().mean()) for c in classes[1:]])
    assert found["disagreement/4/16"]["value"] == pytest.approx(apart)
    flat = [torch.cat([t[i].flatten() for t in last.params.values()]) for i in (0, *copies)]
    angle = np.mean([1 - float(torch.cosine_similarity(f, flat[0], dim=0)) for f in flat[1:]])
    assert found["dissimilarity/4/16"]["value"] == pytest.approx(angle, abs=1e-6)


def test_barriers_are_those_of_the_test_loss(result):
    task, last = small(), result.trajectory.at(16)
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    found = barriers(step, result.trajectory, {"gaussian-0.3@4": 4}, 4)
    assert set(found) == {"barrier/4/8", "barrier/4/16"}
    heights = []
    for copy in (i for i, label in enumerate(last.labels) if label.startswith("gaussian-0.3@4#")):
        losses = []
        for alpha in np.linspace(0, 1, 11):
            model = task.model()
            mixed = {k: (1 - alpha) * t[0] + alpha * t[copy] for k, t in last.params.items()}
            model.load_state_dict(mixed)
            losses.append(float(task.loss(model, task.eval_data).detach()))
        chord = np.linspace(losses[0], losses[-1], 11)
        heights.append(max(0.0, float((np.array(losses) - chord).max())))
    assert found["barrier/4/16"]["value"] == pytest.approx(np.mean(heights), abs=1e-6)


def test_kernels_are_those_of_their_moments(result):
    step = TrainingStep(small(), torch.float32, torch.device("cpu"))
    found = kernels(step, result.trajectory, [0, 4], [0, 4, 16], 4)
    kernel = TangentKernel(small(), None)
    a, b = (kernel.gram(result.trajectory.at(s))[0] for s in (4, 8))
    assert found["turn/4/4"]["value"] == pytest.approx(kernel_angle(a, b))
    centred = kernel_angle(a, b, centred=True)
    assert found["centred_turn/4/4"]["value"] == pytest.approx(centred)
    assert {n for n in found if n.startswith("angle/")} == {"angle/0/4", "angle/0/16", "angle/4/16"}
    ratio = np.linalg.norm(a) / np.linalg.norm(kernel.gram(result.trajectory.at(0))[0])
    assert found["norm/4"]["value"] == pytest.approx(ratio)
    assert {n for n in found if n.startswith("structure/")} == {
        f"structure/{dt}" for dt in (2, 4, 6, 8)
    }
    went = way(step, result.trajectory, [0], 4)["way/0"]["value"]
    flat = [
        torch.cat([t[0].flatten() for t in result.trajectory.at(s).params.values()]) for s in (0, 4)
    ]
    cosine = torch.cosine_similarity(flat[0].double(), flat[1].double(), dim=0)
    assert went == pytest.approx(math.acos(float(cosine)), rel=1e-5)


def test_a_model_linear_in_its_weights_has_one_kernel_and_nothing_to_lose():
    task = small(lambda: nn.Linear(4, 2))
    result = wb.run(task, replicas=1, record_every=2, metrics=("accuracy",), driver="loop")
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    found = kernels(step, result.trajectory, [0, 4], [0, 4, 16], 4)
    turns = [e["value"] for n, e in found.items() if n.startswith(("turn/", "angle/"))]
    assert max(turns) == 0.0
    assert found["slope"]["value"] is None  # nothing moves: no curve in logarithms
    own = result.table.query("metric == 'accuracy' and b == 'reference' and step == 16")
    full = float(own["value"].iloc[0])
    assert fixed_kernel_accuracy(task, result.trajectory.at(0), 16) == pytest.approx(full)
    assert fixed_kernel_accuracy(task, result.trajectory.at(16), 0) == pytest.approx(full)


def test_training_with_a_fixed_kernel_is_that_of_the_linear_model():
    """By hand: outputs f₀ + Jδ with the Jacobian itself, the same batches, SGD with momentum."""
    task = small(batch_size=24)
    torch.manual_seed(0)
    start = task.model()
    result = wb.run(task, replicas=1, record_every=16, metrics="l2", driver="loop")
    snapshot = result.trajectory.at(0)
    start.load_state_dict({k: t[0] for k, t in snapshot.params.items()})
    names = list(dict(start.named_parameters()))

    def jacobian(x):
        out = start(x)
        rows = [
            torch.cat([g.flatten() for g in torch.autograd.grad(o, list(start.parameters()),
                                                                retain_graph=True)])
            for o in out.flatten()
        ]  # fmt: skip
        return out.detach(), torch.stack(rows)

    (f0, j), (held, k) = (jacobian(x) for x in (task.data[0], task.eval_data[0]))
    delta = torch.zeros(j.shape[1], requires_grad=True)
    optimizer = task.optimizer([delta])
    for _ in range(12):
        optimizer.zero_grad()
        out = f0 + (j @ delta).reshape(f0.shape)
        nn.functional.cross_entropy(out, task.data[1]).backward()
        optimizer.step()
    last = held + (k @ delta.detach()).reshape(held.shape)
    expected = float((last.argmax(1) == task.eval_data[1]).float().mean())
    assert names
    assert fixed_kernel_accuracy(task, snapshot, 12) == pytest.approx(expected)


def test_axes_of_time():
    steps = tuple(range(0, 801, 8))
    assert elapsed_of(list(FORKS), steps) == 200
    assert columns(list(FORKS), steps) == [
        0, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 800,
    ]  # fmt: skip


@pytest.mark.slow
def test_a_quick_run_has_a_page_tables_and_a_verdict_for_every_claim(tmp_path):
    found = small_run("two_phase", tmp_path, DOCS / "two_phase" / "digits_at_rest")
    assert (tmp_path / "report.html").exists()
    assert {f"{name}.csv" for name in found.tables} <= {p.name for p in tmp_path.iterdir()}
    assert len(found.claims) == 17
    assert found.study.failures == ()
