"""What a perturbation does to the weights, measured after rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import cases
import pytest
import torch
from driving import CPU, flat, train
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import wingbeat as wb
from wingbeat.params import trainable
from wingbeat.replicas.fork import fork
from wingbeat.replicas.perturb import expected_init_norm, init_stds
from wingbeat.replicas.perturb.perturbation import Nudge
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep

F64 = torch.float64


def unused(seed: int) -> dict[str, Tensor]:
    raise AssertionError("this perturbation asks for no gradient")


def moved(
    nudge: Nudge,
    params: Mapping[str, Tensor],
    replica: int = 1,
    gradient: Callable[[int], Mapping[str, Tensor]] = unused,
) -> dict[str, Tensor]:
    """Return what is added to every tensor, zero where the perturbation leaves it out."""
    delta = nudge.delta(params, gradient, replica)  # type: ignore[arg-type]
    return {k: delta.get(k, torch.zeros_like(t, dtype=F64)) for k, t in params.items()}


def norm(tensors: Mapping[str, Tensor]) -> float:
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors.values()))


def weights(seed: int = 0, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = shapes or {"a.weight": (20, 30), "a.bias": (20,), "b.weight": (5, 20), "b.bias": (1,)}
    return {k: torch.randn(s, generator=generator, dtype=F64) for k, s in shapes.items()}


# Gaussian ----------------------------------------------------------------------------------

scales = st.floats(1e-8, 10.0)


@given(scale=scales, seed=st.integers(0, 1000), replica=st.integers(1, 50))
@settings(deadline=None, max_examples=40)
def test_norms_are_exact(scale: float, seed: int, replica: int) -> None:
    params = weights(seed)
    for relative_to, length in (
        ("norm", norm(params)),
        ("init", expected_init_norm(params)),
    ):
        nudge = wb.Gaussian(scale, relative_to=relative_to, seed=seed)
        assert norm(moved(nudge, params, replica)) == pytest.approx(scale * length, rel=1e-12)


@given(fraction=st.floats(0.001, 1.0), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_the_mask_comes_before_the_norm(fraction: float, seed: int) -> None:
    params = weights(seed)
    total = sum(t.numel() for t in params.values())
    count = max(1, round(fraction * total))
    stds = init_stds(params)
    for relative_to in ("norm", "init"):
        nudge = wb.Gaussian(0.1, relative_to=relative_to, fraction=fraction, seed=seed)
        delta = moved(nudge, params)
        kept = {k: d != 0 for k, d in delta.items()}
        assert sum(int(k.sum()) for k in kept.values()) == count
        if relative_to == "norm":
            length = norm({k: t * kept[k] for k, t in params.items()})
        else:
            length = math.sqrt(sum(stds[k] ** 2 * float(m.sum()) for k, m in kept.items()))
        assert norm(delta) == pytest.approx(0.1 * length, rel=1e-12)


def test_tensor_std_scales_each_tensor_by_its_own() -> None:
    params = {
        "small": 0.01 * torch.randn(4000, dtype=F64),
        "large": 5 + 3 * torch.randn(80, 50, dtype=F64),
    }
    delta = moved(wb.Gaussian(0.1), params)
    for name, tensor in params.items():
        ratio = float(delta[name].std() / tensor.std())
        assert ratio == pytest.approx(0.1, rel=6 / math.sqrt(2 * 4000))  # six standard errors
        assert abs(float(delta[name].mean())) < 6 * 0.1 * float(tensor.std()) / math.sqrt(4000)


def test_absolute_noise_is_standard_normal_times_the_scale() -> None:
    from scipy import stats

    delta = moved(wb.Gaussian(0.5, relative_to="absolute"), weights(w=(100, 100)))
    assert stats.kstest((delta["w"] / 0.5).flatten().numpy(), "norm").pvalue > 1e-4


def test_init_noise_has_the_initialisations_proportions() -> None:
    """The norm of each tensor's share is σ·E_l up to the chance of its own draw."""
    params = {f"{i}.weight": torch.zeros(40, 30 * (i + 1)) for i in range(3)}
    delta = moved(wb.Gaussian(0.01, relative_to="init"), params)
    for name, tensor in params.items():
        own = init_stds(params)[name] * math.sqrt(tensor.numel())
        error = 6 / math.sqrt(2 * tensor.numel())
        assert norm({name: delta[name]}) == pytest.approx(0.01 * own, rel=error)


@pytest.mark.parametrize("relative_to", ["tensor_std", "init", "norm", "absolute"])
def test_one_element_constant_and_zero_tensors_stay_finite(relative_to: str) -> None:
    params = {
        "one": torch.tensor([2.0]),
        "scalar": torch.tensor(-3.0),
        "constant": torch.full((7,), 4.0),
        "zero": torch.zeros(5),
        "matrix": torch.randn(3, 4),
    }
    delta = moved(wb.Gaussian(0.1, relative_to=relative_to), params)  # type: ignore[arg-type]
    assert all(bool(torch.isfinite(d).all()) for d in delta.values())
    assert bool((delta["constant"] != 0).all())
    assert bool((delta["one"] != 0).all())
    assert bool((delta["zero"] == 0).all()) is (relative_to == "tensor_std")


def test_a_model_of_zeros_does_not_give_nan() -> None:
    params = {"w": torch.zeros(3, 4), "b": torch.zeros(3)}
    for relative_to in ("tensor_std", "norm"):
        delta = moved(wb.Gaussian(0.1, relative_to=relative_to), params)  # type: ignore[arg-type]
        assert norm(delta) == 0.0


def test_one_bias_net_runs() -> None:
    task = cases.task("one-bias", steps=2)
    last = train(task, "loop", perturbations=[wb.Gaussian(0.01)])[-1]
    assert flat(last).shape == (4, 2305)
    assert bool(torch.isfinite(flat(last)).all())


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (None, "norm|bias", {"a.weight", "b.weight"}),
        ("bias", None, {"a.bias", "b.bias"}),
        (r"^a\.", "bias", {"a.weight"}),
        (None, None, {"a.weight", "a.bias", "b.weight", "b.bias"}),
    ],
)
def test_include_and_exclude(include: str | None, exclude: str | None, expected: set[str]) -> None:
    for nudge in (
        wb.Gaussian(0.1, include=include, exclude=exclude),
        wb.Gaussian(0.1, include=include, exclude=exclude, relative_to="init"),
        wb.Ulp(9, include=include, exclude=exclude)
        if len(expected) > 1
        else wb.Ulp(1, include=include, exclude=exclude),
    ):
        delta = moved(nudge, weights())
        assert {k for k, d in delta.items() if bool((d != 0).any())} <= expected
    delta = moved(wb.Gaussian(0.1, include=include, exclude=exclude), weights())
    assert {k for k, d in delta.items() if bool((d != 0).all())} == expected


def test_no_tensor_left_is_refused() -> None:
    with pytest.raises(wb.RequestError, match="no tensor is left"):
        wb.Gaussian(0.1, include="nothing").check(weights(), 10)
    with pytest.raises(wb.RequestError, match="not a regular expression"):
        wb.Gaussian(0.1, include="(")


# The expected initial norm -----------------------------------------------------------------


def resnet(blocks: tuple[int, ...], width: int) -> dict[str, Tensor]:
    """Names and shapes of a CIFAR ResNet: stem, basic blocks, 1×1 shortcuts, 10 classes."""
    shapes: dict[str, tuple[int, ...]] = {"conv.weight": (width, 3, 3, 3)}

    def normed(name: str, channels: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (channels,)

    normed("norm", width)
    before = width
    for stage, count in enumerate(blocks):
        after = width * 2**stage
        for block in range(count):
            name = f"blocks.{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (after, before, 3, 3)
            normed(f"{name}.norm1", after)
            shapes[f"{name}.conv2.weight"] = (after, after, 3, 3)
            normed(f"{name}.norm2", after)
            if before != after:
                shapes[f"{name}.shortcut.conv.weight"] = (after, before, 1, 1)
                normed(f"{name}.shortcut.norm", after)
            before = after
    shapes |= {"fc.weight": (10, before), "fc.bias": (10,)}
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("blocks", "width", "total", "perturbed", "expected"),
    [
        ((3, 3, 3), 32, 1_084_586, 1_081_440, 56.18),
        ((1, 1, 1), 64, 1_227_594, 1_224_896, 52.04),
        ((3, 4, 6, 3), 16, 1_334_618, 1_330_352, 65.39),
    ],
)
def test_expected_norm_of_the_published_nets(
    blocks: tuple[int, ...], width: int, total: int, perturbed: int, expected: float
) -> None:
    """Check values derived from the definitions of arXiv 2506.13234."""
    params = resnet(blocks, width)
    chosen = wb.Gaussian(1.0, exclude="norm|bias").chosen(params)
    assert sum(t.numel() for t in params.values()) == total
    assert sum(t.numel() for t in chosen.values()) == perturbed
    assert round(expected_init_norm(params, chosen), 2) == expected


def test_tensors_of_the_published_net() -> None:
    params = resnet((3, 3, 3), 32)
    assert len(params) == 65
    assert len(wb.Gaussian(1.0, exclude="norm|bias").chosen(params)) == 22
    assert len(wb.Gaussian(1.0, include="norm").chosen(params)) == 42
    assert len(wb.Gaussian(1.0, include="^fc.bias$").chosen(params)) == 1


@pytest.mark.parametrize(("fraction", "share"), [(1.0, 1.0), (0.5, math.sqrt(0.5))])
def test_noise_on_the_published_net(fraction: float, share: float) -> None:
    """‖ε‖ = σ·E by flags; half of the weights carry 1/√2 of it; excluded tensors stay."""
    params = resnet((3, 3, 3), 32)
    nudge = wb.Gaussian(0.5, relative_to="init", exclude="norm|bias", fraction=fraction)
    delta = moved(nudge, params)
    assert norm(delta) == pytest.approx(0.5 * 56.18 * share, rel=3e-3 if share < 1 else 1e-4)
    assert all(norm({k: d}) == 0 for k, d in delta.items() if "norm" in k or "bias" in k)
    one = wb.Gaussian(1.0, relative_to="absolute", exclude="norm|bias", include="conv1")
    assert norm(moved(one, params)) == pytest.approx(
        math.sqrt(sum(t.numel() for t in one.chosen(params).values())), rel=0.01
    )


def test_expected_norm_is_that_of_sampled_weights() -> None:
    params = resnet((1, 1, 1), 8)
    generator = torch.Generator().manual_seed(0)
    stds = init_stds(params)
    sample = {k: stds[k] * torch.randn(t.shape, generator=generator) for k, t in params.items()}
    assert norm(sample) == pytest.approx(expected_init_norm(params), rel=0.05)


def test_vectors_take_the_next_weights_deviation_whatever_the_groups() -> None:
    params = {
        "a.weight": torch.zeros(4, 8),
        "a.bias": torch.zeros(4),
        "b.weight": torch.zeros(2, 32),
    }
    params["b.bias"] = torch.zeros(16)
    stds = init_stds(params)
    assert stds == {"a.weight": 0.5, "a.bias": 0.25, "b.weight": 0.25, "b.bias": 0.25}
    one, two = (
        forked(wb.Gaussian(0.1, relative_to="init"), problem="mlp", optimizer=name)[0]
        for name in ("sgd", "groups")
    )
    assert one.l2 == pytest.approx(two.l2, rel=1e-6)


# Forking -----------------------------------------------------------------------------------


def forked(
    perturbation: Any,
    problem: str = "mlp-noisy",
    optimizer: str | None = None,
    dtype: torch.dtype = torch.float32,
    replica: int = 1,
) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
    """Return the member, and the weights before and after, by name."""
    task = cases.task(problem, optimizer)
    step = TrainingStep(task, dtype, CPU)
    start, streams = step.start(0), Streams.of(0)
    state, member = fork(step, start, streams, perturbation, replica, Batches(task, dtype, CPU))
    return member, step.layout.unflatten(start.params), step.layout.unflatten(state.params)


NUDGES = [
    wb.Gaussian(0.01),
    wb.Gaussian(0.1, relative_to="norm", fraction=0.3),
    wb.BatchGradient(0.1),
    wb.SingleWeight(0.5),
    wb.Ulp(5),
    wb.Direction({"0.weight": torch.ones(10, 4)}, 0.01),
]
each_nudge = pytest.mark.parametrize("nudge", NUDGES, ids=lambda n: n.kind)


@each_nudge
def test_realised_magnitude_and_share_are_recorded(nudge: Nudge) -> None:
    member, before, after = forked(nudge)
    gaps = {k: after[k].double() - before[k].double() for k in before}
    total = sum(t.numel() for t in gaps.values())
    changed = sum(int((g != 0).sum()) for g in gaps.values())
    assert member.l2 == pytest.approx(norm(gaps), rel=1e-12)
    assert member.changed == pytest.approx(changed / total, rel=1e-12)
    assert member.l2 > 0


@each_nudge
def test_replicas_differ_and_the_same_seed_repeats(nudge: Nudge) -> None:
    first, again, second = (forked(nudge, replica=r)[2] for r in (1, 1, 2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    differ = any(not torch.equal(first[k], second[k]) for k in first)
    assert differ is not isinstance(nudge, wb.Direction)


def test_the_seed_of_the_perturbation_counts() -> None:
    for kind in (wb.Gaussian, wb.BatchGradient, wb.SingleWeight):
        one, two = (forked(kind(0.1, seed=s))[2] for s in (0, 1))
        assert any(not torch.equal(one[k], two[k]) for k in one)


def test_a_nudge_that_vanishes_in_rounding_is_seen() -> None:
    member, _, _ = forked(wb.Gaussian(1e-12))
    assert member.changed < 0.01
    exact, _, _ = forked(wb.Gaussian(1e-12), dtype=F64)
    assert exact.changed == 1.0


def test_batch_gradient_is_the_gradient_of_its_batch_and_points_uphill() -> None:
    nudge = wb.BatchGradient(1e-3, relative_to="absolute", seed=4)
    task = cases.task("mlp")
    _, before, after = forked(nudge, problem="mlp", dtype=F64, replica=2)
    gap = {k: after[k] - before[k] for k in before}
    torch.manual_seed(0)
    model = task.model().double()
    batch = Batches(task, F64, CPU).batch(Streams.of(nudge.derived(2)), 0)
    loss = task.loss(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = {k: p.grad for k, p in trainable(model).items()}
    scale = 1e-3 / norm(gradient)  # type: ignore[arg-type]
    for name, slope in gradient.items():
        torch.testing.assert_close(gap[name], slope * scale, rtol=1e-9, atol=1e-14)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(after[name])
    rise = float((task.loss(model, batch) - loss).detach())
    assert rise == pytest.approx(1e-3 * norm(gradient), rel=0.05)  # type: ignore[arg-type]


@pytest.mark.parametrize("relative_to", ["init", "norm", "absolute", "tensor_std"])
def test_single_weight_moves_one(relative_to: str) -> None:
    params = weights()
    nudge = wb.SingleWeight(0.25, relative_to=relative_to)  # type: ignore[arg-type]
    size = {
        "init": init_stds(params),
        "norm": dict.fromkeys(params, norm(params)),
        "absolute": dict.fromkeys(params, 1.0),
        "tensor_std": {
            k: float(t.std()) if t.numel() > 1 else float(t.abs()) for k, t in params.items()
        },
    }[relative_to]
    signs, places = set(), set()
    for replica in range(1, 41):
        delta = moved(nudge, params, replica)
        (name,) = (k for k, d in delta.items() if bool((d != 0).any()))
        assert int((delta[name] != 0).sum()) == 1
        value = float(delta[name].sum())
        assert abs(value) == pytest.approx(0.25 * size[name], rel=1e-12)
        signs.add(value > 0)
        places.add((name, int(delta[name].flatten().nonzero())))
    assert signs == {True, False}
    assert len(places) > 30


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 7])
def test_ulp_moves_weights_to_the_next_number(dtype: torch.dtype, count: int) -> None:
    member, before, after = forked(wb.Ulp(count), problem="mlp", dtype=dtype)
    changed = 0
    for name, weight in before.items():
        where = after[name] != weight
        up = torch.nextafter(weight, torch.full_like(weight, math.inf))
        down = torch.nextafter(weight, torch.full_like(weight, -math.inf))
        assert bool(((after[name] == up) | (after[name] == down))[where].all())
        changed += int(where.sum())
    assert changed == count
    assert member.changed == pytest.approx(count / sum(t.numel() for t in before.values()))


def test_ulp_leaves_zero_and_counts_its_weights() -> None:
    delta = moved(wb.Ulp(3), {"zero": torch.zeros(3)})
    assert delta["zero"].abs().tolist() == [2.0**-149] * 3
    with pytest.raises(wb.RequestError, match="only 3 weights"):
        wb.Ulp(4).check({"zero": torch.zeros(3)}, 10)


def test_direction_adds_its_tensors_and_refuses_others() -> None:
    direction = {"0.weight": torch.arange(40.0).reshape(10, 4)}
    _, before, after = forked(wb.Direction(direction, 0.5), problem="mlp", dtype=F64)
    gap = after["0.weight"] - before["0.weight"]
    torch.testing.assert_close(gap, 0.5 * direction["0.weight"].double(), rtol=0, atol=1e-14)
    assert all(torch.equal(after[k], before[k]) for k in before if k != "0.weight")
    params = {"0.weight": torch.zeros(10, 4)}
    with pytest.raises(wb.RequestError, match=r"did you mean '0\.weight'"):
        wb.Direction({"0.weigth": torch.zeros(10, 4)}).check(params, 10)
    with pytest.raises(wb.RequestError, match="has shape"):
        wb.Direction({"0.weight": torch.zeros(4, 10)}).check(params, 10)


# Noise sources -----------------------------------------------------------------------------

CHANGES = [wb.DataOrder(3), wb.Augmentation(3), wb.Dropout(3)]
FIELDS = {"order": "order", "augmentation": "augmentation", "dropout": "dropout"}


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.kind)
def test_a_stream_change_changes_its_stream_alone(change: Any) -> None:
    base = Streams.of(0)
    for replica in (1, 2):
        changed = change.streams(base, replica)
        different = {f for f in FIELDS if getattr(changed, f) != getattr(base, f)}
        assert different == {FIELDS[change.kind]}
    assert change.streams(base, 1) != change.streams(base, 2)
    assert change.streams(base, 1) == change.streams(base, 1)
    assert type(change)(4).streams(base, 1) != change.streams(base, 1)


@pytest.mark.parametrize("driver", ["loop", "traced"])
@pytest.mark.parametrize("kind", [wb.DataOrder, wb.Augmentation, wb.Dropout])
def test_weights_are_equal_at_the_fork_and_part_after_it(kind: Any, driver: str) -> None:
    task = cases.task("mlp-noisy", steps=4)
    snapshots = train(task, driver, perturbations=[kind(3, at=2)], count=2, record=(2, 3))
    fork_, after, _ = (flat(s) for s in snapshots[1:])
    assert all(torch.equal(row, fork_[0]) for row in fork_)
    assert torch.equal(after[1], after[0])
    assert not torch.equal(after[2], after[0])
    assert not torch.equal(after[2], after[3])
    again = train(task, driver, perturbations=[kind(3, at=2)], count=2, record=(2, 3))
    assert torch.equal(flat(again[-1]), flat(snapshots[-1]))


def test_a_source_that_the_task_does_not_have_changes_nothing() -> None:
    task = cases.task("mlp", steps=4)
    last = train(task, "loop", perturbations=[wb.Dropout(1), wb.Augmentation(1)], count=1)[-1]
    assert all(torch.equal(row, flat(last)[0]) for row in flat(last))


def test_data_order_changes_which_samples_come() -> None:
    task = cases.task("mlp")
    found, base = Batches(task, torch.float32, CPU), Streams.of(0)
    other = wb.DataOrder(3).streams(base, 1)
    orders = [[found.indices(s.order, t) for t in range(3)] for s in (base, other)]
    one, two = (torch.cat(order) for order in orders)
    assert not torch.equal(one, two)
    assert torch.equal(one.sort().values, two.sort().values)


def test_init_is_an_independent_runs_initialisation() -> None:
    perturbation = wb.Init(5)
    member, _, after = forked(perturbation, problem="mlp", replica=3)
    torch.manual_seed(perturbation.derived(3))
    expected = trainable(cases.PROBLEMS["mlp"].model())
    assert all(torch.equal(after[k], p) for k, p in expected.items())
    assert member.streams == Streams.of(0)
    with pytest.raises(wb.RequestError, match="only differ at step 0"):
        wb.Init(at=3)


# Requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0, -1.0, math.nan, math.inf, "0.1", None])
@pytest.mark.parametrize("kind", [wb.Gaussian, wb.BatchGradient, wb.SingleWeight])
def test_scales_that_mean_nothing_are_refused(kind: Any, scale: Any) -> None:
    with pytest.raises(wb.RequestError, match="finite number above 0"):
        kind(scale)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: wb.Gaussian(0.1, at=-1), "at is -1"),
        (lambda: wb.Gaussian(0.1, at=1.5), "at is 1.5"),  # type: ignore[arg-type]
        (lambda: wb.Gaussian(0.1, relative_to="nrom"), "did you mean 'norm'"),  # type: ignore[arg-type]
        (lambda: wb.Gaussian(0.1, fraction=0.0), "fraction is 0.0"),
        (lambda: wb.Gaussian(0.1, fraction=1.1), "fraction is 1.1"),
        (lambda: wb.BatchGradient(0.1, relative_to="tensor_std"), "one norm for all"),
        (lambda: wb.Ulp(0), "n is 0"),
        (lambda: wb.Direction({}, math.nan), "scale is nan"),
        (lambda: wb.Gaussian(0.1, at=10).check(weights(), 10), "fork before the last"),
    ],
)
def test_bad_requests_name_the_value(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(wb.RequestError, match=match):
        make()


def test_labels_are_unique_and_speak() -> None:
    same = [wb.Gaussian(0.01), wb.Gaussian(0.01, seed=1), wb.Gaussian(0.01, at=1), wb.DataOrder(2)]
    result = wb.run(cases.task("mlp", steps=2), same, replicas=2, driver="loop", progress=False)
    labels = result.labels
    assert labels[:2] == ("reference", "null")
    assert len(set(labels)) == len(labels) == 10
    assert set(labels[2:]) == {
        f"{name}#{i}"
        for name in ("gaussian-0.01@0", "gaussian-0.01@0/2", "gaussian-0.01@1", "order-2@0")
        for i in (1, 2)
    }
    with pytest.raises(wb.RequestError, match="name"):
        wb.run(cases.task("mlp"), wb.Gaussian(0.1, name="null"), progress=False)
