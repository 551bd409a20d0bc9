"""The null twin is exactly equal to the reference, and replicas do not see each other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import cases
import pytest
import torch
from driving import course, flat, go_on, same_bits, train
from torch import nn

import wingbeat as wb
from wingbeat.replicas.snapshot import Snapshot

CALM = (wb.Gaussian(0.01), wb.Gaussian(0.1, at=3))


def run(
    problem: str, replicas: int, driver: str = "lockstep", steps: int = 8, **changes: Any
) -> wb.Result:
    return wb.run(
        cases.task(problem, steps=steps, **changes),
        wb.Gaussian(0.01),
        replicas=replicas,
        driver=driver,  # type: ignore[arg-type]
        metrics=["l2"],
        progress=False,
    )


def independent_of_company(
    problem: str, sizes: tuple[int, ...], steps: int, **changes: Any
) -> None:
    results = [run(problem, size, steps=steps, **changes) for size in sizes]
    for result in results:
        assert result.noise_floor == 0.0
        assert result.warnings == ()
        assert result.environment["driver"] == "lockstep"
        assert result.environment["mode"] == "traced"
        last = result.trajectory.at(steps)
        assert same_bits(as_reference(last, "null"), last, ["reference"])
        assert not same_bits(as_reference(last, last.labels[2]), last, ["reference"])
    few = results[0].trajectory.at(steps)
    for result in results[1:]:
        assert same_bits(few, result.trajectory.at(steps))


def as_reference(snapshot: Snapshot, label: str) -> Snapshot:
    """Return a snapshot of one replica alone, under the reference's name."""
    row = [snapshot.labels.index(label)]
    return replace(
        snapshot,
        labels=("reference",),
        params={k: t[row] for k, t in snapshot.params.items()},
        buffers={k: t[row] for k, t in snapshot.buffers.items()},
    )


@pytest.mark.parametrize("problem", cases.NOISY)
def test_exact_and_independent_of_company_fast(problem: str) -> None:
    independent_of_company(problem, (5, 16), 4, drop_last=True)


@pytest.mark.slow
@pytest.mark.parametrize("problem", [*cases.NOISY, "mlp-sigmoid", "mlp-silu", "cnn", "groups"])
def test_exact_and_independent_of_company(problem: str) -> None:
    independent_of_company(problem, (5, 16), 12)


@pytest.mark.long
@pytest.mark.parametrize("problem", [*cases.NOISY, "mlp-sigmoid", "mlp-silu", "cnn", "groups"])
def test_exact_and_independent_of_company_in_a_crowd(problem: str) -> None:
    independent_of_company(problem, (5, 16, 50), 30)


@pytest.mark.long
@pytest.mark.parametrize("problem", ["mlp-noisy", "transformer-noisy", "mlp-sigmoid"])
def test_exact_and_independent_of_company_on_two_threads(problem: str) -> None:
    torch.set_num_threads(2)
    independent_of_company(problem, (5, 16, 50), 10)


@pytest.mark.long
@pytest.mark.parametrize("replicas", [14, 51])
def test_two_threads_are_exact_or_refused(replicas: int) -> None:
    """Threads cut a tensor anywhere, and SiLU rounds differently at the end of each cut."""
    torch.set_num_threads(2)
    task = {"model": partial(wide, nn.SiLU), "batch_size": 32, "drop_last": True}
    asked = run("mlp", replicas, "lockstep", 4, **task)
    chosen = run("mlp", replicas, "auto", 4, **task)
    assert asked.warnings == () or "2 threads" in asked.warnings[0]
    assert chosen.warnings == ()
    assert chosen.noise_floor == 0.0
    if asked.warnings:
        assert chosen.environment["driver"] == "loop"


def wide(activation: type[nn.Module]) -> nn.Module:
    layers = [nn.Linear(4, 131), activation(), nn.Linear(131, 67), activation(), nn.Linear(67, 1)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("problem", cases.NOISY)
def test_exact_on_the_loop_driver(problem: str) -> None:
    result = run(problem, 3, "loop")
    assert result.noise_floor == 0.0
    assert result.environment["driver"] == "loop"


@pytest.mark.parametrize("size", [5, 16, 50])
def test_wide_layers_of_odd_width(size: int) -> None:
    """Matrix kernels choose their blocking by shape: none may depend on the stack's size."""
    task = cases.task("mlp", steps=3, model=partial(wide, nn.GELU), drop_last=True)
    few = train(task, "traced", count=3)[-1]
    many = train(task, "traced", count=size)[-1]
    assert same_bits(few, many)
    assert same_bits(as_reference(many, "null"), many, ["reference"])


@pytest.mark.parametrize(
    ("problem", "chunk"), [("mlp-noisy", 2), ("mlp-noisy", 3), ("cnn-noisy", 5)]
)
def test_chunks_do_not_change_bits(problem: str, chunk: int) -> None:
    # SiLU needs a batch that fills its vector lanes; tanh and GELU do not.
    whole_lanes = {"batch_size": 32, "drop_last": True} if problem == "cnn-noisy" else {}
    task = cases.task(problem, steps=6, **whole_lanes)
    whole = train(task, "traced", count=7)[-1]
    cut = train(task, "traced", count=7, chunk=chunk)[-1]
    assert whole.labels == cut.labels
    assert torch.equal(whole.losses, cut.losses)
    assert same_bits(whole, cut)


@pytest.mark.parametrize("problem", ["mlp-noisy", "groups"])
def test_recorded_step_equals_the_vectorised_one(problem: str) -> None:
    task = cases.task(problem, steps=7)
    options = {"perturbations": CALM, "record": (1, 2, 4)}
    traced, eager = (train(task, mode, **options) for mode in ("traced", "eager"))
    for a, b in zip(traced, eager, strict=True):
        assert a.labels == b.labels
        assert torch.equal(a.losses.nan_to_num(), b.losses.nan_to_num())
        assert same_bits(a, b)


@pytest.mark.long
@pytest.mark.parametrize("problem", cases.PROBLEMS)
def test_recorded_step_equals_the_vectorised_one_everywhere(problem: str) -> None:
    test_recorded_step_equals_the_vectorised_one(problem)


@pytest.mark.parametrize(
    ("problem", "batch", "spare"),
    [("mlp-silu", 25, 32), ("mlp-silu", 24, 4), ("mlp-silu", 32, 1), ("mlp", 25, 1)],
)
def test_the_stack_fills_whole_vector_loops(problem: str, batch: int, spare: int) -> None:
    """SiLU rounds differently in the last elements of a tensor, on some steps only."""
    result = run(problem, 3, batch_size=batch, drop_last=True)
    assert result.environment["spare"] == spare
    assert result.noise_floor == 0.0


def test_an_incomplete_last_batch_counts_too() -> None:
    result = run("mlp-silu", 3, batch_size=32)  # of 60 samples: 32 and 28
    assert result.environment["spare"] == 8
    assert result.noise_floor == 0.0


@pytest.mark.parametrize("spare", [4, 8])
def test_riders_change_no_bits(spare: int) -> None:
    task = cases.task("mlp-noisy", steps=5)
    options = {"count": 3, "perturbations": CALM}
    assert same_bits(
        train(task, "traced", **options)[-1], train(task, "traced", spare=spare, **options)[-1]
    )


@pytest.mark.parametrize(
    ("problem", "driver"), [("mlp-noisy", "loop"), ("mlp-noisy", "traced"), ("cnn-noisy", "loop")]
)
def test_late_joiner_equals_its_state_trained_alone(problem: str, driver: str) -> None:
    task = cases.task(problem, steps=9)
    late = course(task, driver, perturbations=[wb.Gaussian(0.1, at=4)], count=2, record=[4])
    go_on(late, 4)
    place = late.replicas.members.index(
        next(m for m in late.replicas.members if m.label.endswith("#2"))
    )
    member, state = late.replicas.members[place], late.replicas.states()[place]
    alone = course(task, driver, perturbations=())
    alone.replicas.place([member], [state.map(torch.clone)])
    alone.done = 4
    together, single = go_on(late, 9)[-1], go_on(alone, 9)[-1]
    assert single.labels == (member.label,)
    assert same_bits(together, single)


def test_reference_does_not_depend_on_what_is_forked() -> None:
    task = cases.task("mlp-noisy", steps=8)
    bare = train(task, "traced", perturbations=())[-1]
    forked = train(task, "traced", perturbations=[*CALM, wb.DataOrder(at=2), wb.Init()])[-1]
    assert same_bits(bare, forked, ["reference", "null"])
    assert not torch.isfinite(flat(forked)).logical_not().any()


@pytest.mark.parametrize("driver", ["loop", "traced"])
def test_saved_course_goes_on_with_the_same_bits(driver: str) -> None:
    task = cases.task("mlp-noisy" if driver == "traced" else "cnn-noisy", "adam", steps=9)
    options = {"perturbations": [*CALM, wb.Dropout(at=5)], "record": (2, 6)}
    whole = train(task, driver, **options)
    for stop in (3, 6):
        first = course(task, driver, **options)
        go_on(first, stop)
        tensors, facts = first.save()
        second = course(task, driver, **options)
        second.restore({k: t.clone() for k, t in tensors.items()}, facts)
        after = go_on(second, 9)
        expected = [s for s in whole if s.step > stop]
        assert [s.step for s in after] == [s.step for s in expected]
        for a, b in zip(after, expected, strict=True):
            assert a.labels == b.labels
            assert same_bits(a, b)
            assert torch.equal(a.losses.isnan(), b.losses.isnan())
            assert torch.equal(a.losses.nan_to_num(), b.losses.nan_to_num())


def bias_before_norm() -> nn.Module:
    """Build a net whose first bias has a gradient of rounding errors only."""
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def test_a_narrow_batch_norm_is_exact_in_every_place() -> None:
    """Its derivative lays the channels of all replicas side by side, 6 for each."""
    task = replace(cases.task("mlp-noisy", steps=8), model=bias_before_norm, loss=cases.entropy)
    task = replace(task, data=(cases.POINTS, cases.CLASSES), batch_size=16)
    result = wb.run(task, wb.Gaussian(0.01), replicas=4, driver="lockstep", progress=False)
    assert result.noise_floor == 0.0
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith("The gradient of 0.bias is rounding alone")
    assert result.environment["spare"] == 16
