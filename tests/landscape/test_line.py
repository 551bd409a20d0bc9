from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from grounds import models_of, problem, slow_line, step_of, thetas, well
from scipy.stats import beta
from torch import nn

from wingbeat.errors import TOO_FEW_BATCHES, RequestError
from wingbeat.landscape import Models, Probe, line
from wingbeat.landscape.line import LineCurve
from wingbeat.metrics.barrier import CONVENTIONS, alpha_grid
from wingbeat.metrics.basins import basins
from wingbeat.task.task import Task

ARCHITECTURES = ("mlp", "cnn", "transformer")


@pytest.mark.parametrize("stacked", [True, False])
def test_double_well_through_a_module(stacked):
    probe = Probe(step_of(well()), stacked=stacked)
    curve = line(probe, thetas(-1.0, 1.0)).curve()
    found = curve.estimates()[0]
    assert abs(found.value - 0.25) < 1e-9
    assert found.interval_reason == "no_variation", "the samples are all alike: nothing varies"
    assert curve.barrier().alpha[0] == 0.5
    expected = ((2 * alpha_grid() - 1) ** 2 - 1) ** 2 / 4
    np.testing.assert_allclose(curve.values[0], expected, atol=1e-12)


def compare(name, points, **options):
    """Check the batched pass against one at a time and against plain modules."""
    task, step = problem(name)
    models = models_of(step, 3)
    stacked = Probe(step, stacked=True, **options)
    single = Probe(step, stacked=False, **options)
    tight = Probe(step, stacked=True, memory=60_000, **options)
    found, one, small = (line(p, models, alphas=points) for p in (stacked, single, tight))
    assert stacked.reason == ""
    assert tight.calls > stacked.calls > 0
    for key, curve in found.curves.items():
        np.testing.assert_allclose(curve.per_batch, one.curves[key].per_batch, atol=1e-10)
        np.testing.assert_allclose(curve.per_batch, small.curves[key].per_batch, atol=1e-10)
    for q, pair in enumerate(found.pairs):
        losses, errors = slow_line(task, step, models, pair, points=points)
        np.testing.assert_allclose(found.curve("loss_train").values[q], losses, atol=1e-10)
        if errors.size:
            np.testing.assert_allclose(found.curve("error_train").values[q], errors, atol=1e-12)
            assert {"error_train", "error_test"} <= set(found.curves)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_batched_pass_equals_one_at_a_time(name):
    compare(name, 3, batch_size=30)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_batched_pass_equals_one_at_a_time_on_the_whole_grid(name):
    compare(name, 25, batch_size=15)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_has_no_barrier_to_itself(name):
    _, step = problem(name)
    two = models_of(step, 2)
    models = two.take([0, 1, 0])
    found = line(Probe(step, batch_size=30), models, alphas=9)
    for key in found.curves:
        for convention in CONVENTIONS:
            heights = found.curve(key).barrier(convention).value
            assert heights[found.pairs.index((0, 2))] == 0.0
        matrix = found.matrix(key)
        assert matrix[0, 2] == 0.0
        assert matrix[0, 1] == matrix[1, 2], "equal models stand for each other to the bit"
    assert line(Probe(step, batch_size=30), models, [(1, 1)], 5).curve().barrier().value[0] == 0.0


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_symmetric_under_exchange(name, dtype):
    task, _ = problem(name)
    step = step_of(task, dtype)
    models = models_of(step, 2, scale=2.0)
    there = line(Probe(step, batch_size=30), models, [(0, 1)], 9)
    back = line(Probe(step, batch_size=30), models, [(1, 0)], 9)
    swapped = line(Probe(step, batch_size=30), models.take([1, 0]), [(0, 1)], 9)
    for key, curve in there.curves.items():
        np.testing.assert_array_equal(curve.values, back.curves[key].values[:, ::-1])
        # Another place in the stack may round otherwise, in the last bits.
        close = {"rtol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-14}
        np.testing.assert_allclose(curve.values, swapped.curves[key].values[:, ::-1], **close)
        assert curve.barrier().value[0] == back.curves[key].barrier().value[0]


def test_interpolated_weights_are_exact_at_both_ends_and_symmetric():
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(2, 1000, generator=generator) * 10 ** torch.randn(
        2, 1, generator=generator
    )
    models = Models(("a", "b"), params, {"n": torch.tensor([3, 4])})
    swapped = models.take([1, 0])
    grid = alpha_grid()
    for alpha in grid:
        row = np.array([1 - alpha, alpha])
        mixed, buffers = models.mixed(row)
        other, _ = swapped.mixed(row[::-1])
        assert torch.equal(mixed, other)
        assert buffers["n"] in (3, 4)
    assert torch.equal(models.mixed(np.array([1.0, 0.0]))[0], params[0])
    assert torch.equal(models.mixed(np.array([0.0, 1.0]))[0], params[1])


def test_error_bar_covers_the_mean_of_all_data():
    """The barrier of a linear curve of noise: known mean, batches that differ."""
    generator = torch.Generator().manual_seed(5)
    task = well(data=(1 + 0.2 * torch.randn(400, generator=generator),))
    step = step_of(task)
    many = line(Probe(step), thetas(-1.0, 1.0)).curve()
    found = many.estimates()[0]
    assert len(many.sizes) >= 20
    assert found.low < found.value < found.high
    # By hand: the curve at α = ½ is ¼ for every sample, the ends are (x² − 1)² / 4 a sample.
    ends = (task.data[0].double() ** 2 - 1) ** 2 / 4
    error = float(ends.std()) / 400**0.5
    assert found.value == pytest.approx(0.25 - float(ends.mean()), abs=1e-6)
    assert found.high - found.low == pytest.approx(2 * 2.09 * error, rel=0.5)


def test_too_few_batches_give_no_interval():
    curve = line(Probe(step_of(well()), batch_size=15), thetas(-1.0, 1.0)).curve()
    found = curve.estimates()[0]
    assert found.value == pytest.approx(0.25)
    assert np.isnan([found.low, found.high]).all()
    assert found.interval_reason == TOO_FEW_BATCHES


def test_uneven_batches_count_by_their_samples():
    task = well(data=(torch.linspace(0.5, 1.5, 23),))
    step = step_of(task)
    whole = line(Probe(step, batch_size=23), thetas(-1.0, 1.0)).curve().values
    parts = line(Probe(step, batch_size=5), thetas(-1.0, 1.0)).curve().values
    np.testing.assert_allclose(whole, parts, atol=1e-14)


def test_all_pairs_give_basins():
    models = thetas(-1.0, -0.95, 1.0, 1.02)
    found = line(Probe(step_of(well())), models)
    assert basins(found.matrix(), 0.05).labels.tolist() == [0, 0, 1, 1]
    some = line(Probe(step_of(well())), models, [(0, 2)]).matrix()
    assert some[0, 2] == some[2, 0] > 0.2
    assert np.isnan(some[0, 1])


def test_other_odd_grids():
    probe = Probe(step_of(well()))
    for alphas in (3, 11, [0.0, 0.4, 0.5, 0.6, 1.0]):
        found = line(probe, thetas(-1.0, 1.0), alphas=alphas).curve().barrier()
        assert found.value[0] == pytest.approx(0.25, abs=1e-9)


class Stubborn(nn.Module):
    """Cannot be vectorised: its forward pass reads a number out of a tensor."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x) * (1 if float(self.layer.weight.sum()) > -1e9 else 2)


def test_a_model_that_cannot_be_stacked_falls_back():
    task, _ = problem("mlp")
    task = replace(task, model=Stubborn, loss=lambda m, b: m(b[0]).square().mean())
    step = step_of(task)
    probe = Probe(step)
    found = line(probe, models_of(step, 2))
    assert "cannot be vectorised" in probe.reason
    assert found.execution == probe.reason
    one = line(Probe(step, stacked=False), models_of(step, 2))
    np.testing.assert_array_equal(found.curve().values, one.curve().values)


def test_a_large_model_is_not_stacked_unless_asked(monkeypatch):
    _, step = problem("mlp")
    monkeypatch.setattr("wingbeat.landscape.probe.STACK_BYTES", 100)
    probe = Probe(step)
    line(probe, models_of(step, 2))
    assert "too large" in probe.reason
    assert probe.calls == 0
    asked = Probe(step, stacked=True)
    line(asked, models_of(step, 2))
    assert asked.calls > 0


def test_from_modules_and_other_architectures():
    task, step = problem("cnn")
    modules = {"a": step.build(0), "b": step.build(1)}
    models = Models.of_modules(step, modules)
    assert models.labels == ("a", "b")
    assert torch.equal(models.params[0], step.start(0).params)
    assert line(Probe(step), models).curve().values.shape == (1, 25)
    with pytest.raises(RequestError, match=r"'c' is of another architecture.*missing.*extra"):
        Models.of_modules(step, {"a": step.build(0), "c": nn.Linear(4, 3)})
    wide = task.model()
    wide.head = nn.Linear(20, 4)
    with pytest.raises(RequestError, match=r"head.weight \(4, 20\) instead of \(3, 20\)"):
        Models.of_modules(step, {"wide": wide})
    with pytest.raises(RequestError, match="no models"):
        Models.of_modules(step, {})


def test_bad_requests_are_refused_before_any_evaluation():
    probe = Probe(step_of(well()))
    two = thetas(-1.0, 1.0)
    with pytest.raises(RequestError, match="begin at 0"):
        line(probe, two, alphas=[0.1, 0.5, 1.0])
    with pytest.raises(RequestError, match="end at 1"):
        line(probe, two, alphas=[0.0, 0.5, 0.9])
    with pytest.raises(RequestError, match="odd number"):
        line(probe, two, alphas=24)
    with pytest.raises(RequestError, match="does not exist"):
        line(probe, two, [(0, 2)])
    with pytest.raises(RequestError, match="at least two"):
        line(probe, thetas(1.0))
    with pytest.raises(RequestError, match="'m1' are not finite"):
        line(probe, thetas(1.0, float("nan")))
    with pytest.raises(RequestError, match="'m0'"):
        line(probe, thetas(float("inf"), 1.0))
    with pytest.raises(RequestError, match="did you mean 'loss_train'"):
        line(probe, two).curve("loss_trian")
    assert probe.calls <= 100


def test_evaluation_data_smaller_than_a_batch_are_refused():
    step = step_of(well())
    with pytest.raises(RequestError, match=r"batch_size 31 is larger.*30 samples"):
        Probe(step, batch_size=31)
    with pytest.raises(RequestError, match="batch_size 30 is larger"):
        Probe(step, batch_size=30, samples=10)
    with pytest.raises(RequestError, match="batch_size"):
        Probe(step, batch_size=0)
    with pytest.raises(RequestError, match="samples"):
        Probe(step, samples=0)
    with pytest.raises(RequestError, match="empty"):
        Probe(step, data={})
    with pytest.raises(RequestError, match="empty"):
        Probe(step, data={"test": (torch.ones(0),)})
    with pytest.raises(RequestError, match="statistics"):
        Probe(step, statistics="none")
    with pytest.raises(RequestError, match="memory"):
        Probe(step, memory=0)


def test_coefficients_that_fit_no_plane_are_refused():
    probe = Probe(step_of(well()))
    with pytest.raises(RequestError, match="sum to 1"):
        probe(thetas(1.0, 2.0), np.array([[0.5, 0.6]]))
    with pytest.raises(RequestError, match="one a model"):
        probe(thetas(1.0, 2.0), np.array([[1.0]]))


def test_map_style_data_sets_and_fewer_samples():
    class Numbers(torch.utils.data.Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return (torch.tensor(1.0 + index / 100),)

    step = step_of(well(data=Numbers()))
    curve = line(Probe(step, samples=8), thetas(-1.0, 1.0)).curve()
    assert curve.sizes.sum() == 8
    x = 1 + np.arange(0, 40, 5) / 100
    expected = [np.mean(((2 * a - 1) ** 2 * x**2 - 1) ** 2) / 4 for a in alpha_grid()]
    np.testing.assert_allclose(curve.values[0], expected, atol=1e-6)


def contrastive(reduction: str = "mean") -> Task:
    """A loss of pairs within a batch: each sample is told from the others beside it."""

    def loss(model, batch):
        scores = model(batch[0]) @ batch[1].T
        return F.cross_entropy(scores, torch.arange(len(scores)), reduction=reduction)

    generator = torch.Generator().manual_seed(0)
    data = tuple(torch.randn(60, 4, generator=generator) for _ in range(2))
    return Task(
        model=lambda: torch.nn.Linear(4, 4),
        loss=loss,
        data=data,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batch_size=12,
        steps=1,
    )


def test_a_loss_that_depends_on_the_batch_is_measured_on_batches_of_the_tasks_size():
    probe = Probe.of(contrastive())
    assert probe.data["train"].sizes == (12,) * 5
    assert Probe.of(contrastive(), batch_size=6).data["train"].sizes == (6,) * 10
    plain = replace(contrastive(), loss=lambda model, batch: F.mse_loss(model(batch[0]), batch[1]))
    assert Probe.of(plain).data["train"].sizes == (3,) * 20


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_a_loss_that_is_a_sum_is_refused(scale):
    task = contrastive()
    sums = lambda model, batch: scale * (model(batch[0]) - batch[1]).square().sum()  # noqa: E731
    with pytest.raises(RequestError, match="reduction='sum'"):
        Probe.of(replace(task, loss=sums))


def test_a_sum_of_pairs_is_refused_and_their_mean_is_not():
    with pytest.raises(RequestError, match="reduction='sum'"):
        Probe.of(contrastive("sum"))
    # Of two samples the mean is ln 2, beside a copy of themselves ln 4, which is twice as much.
    pairs = Probe.of(replace(contrastive(), batch_size=2))
    assert pairs.data["train"].sizes == (2,) * 30


def test_no_error_seen_is_bounded_and_never_certain():
    alphas, sizes = np.linspace(0, 1, 5), np.full(20, 10.0)
    flat = np.zeros((1, 5, 20))
    (found,) = LineCurve(alphas, flat, sizes, share=True).estimates()
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 200))  # Clopper and Pearson, 0 of 200
    assert found.high == pytest.approx(beta.ppf(0.975, 1, 200))
    (loss,) = LineCurve(alphas, flat, sizes).estimates()
    assert (loss.value, loss.interval_reason) == (0.0, "no_variation")
    assert math.isnan(loss.high)
