"""Hold ``wb.run`` to the plain loop: equal, or refused or warned of by name, never other silently.

A run has the reference, the null twin and one perturbed replica, which is compared too (with a
plain loop that starts from its weights): state that leaks from one replica to the next shows
there first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import plain_loop
import torch
from plain_setup import Honest, Setup
from setups import SETUPS
from torch import Tensor

import wingbeat as wb


@cache
def outcome(name: str, driver: str, dtype: torch.dtype) -> wb.Result | wb.WingbeatError:
    """Return the result of a set-up, or the refusal, once for all tests of a process."""
    try:
        return run(SETUPS[name], driver, dtype)
    except (wb.RequestError, wb.DriverError) as error:
        return error


def hold(name: str, driver: str, dtype: torch.dtype) -> None:
    """Assert that a set-up has an honest outcome with a driver."""
    setup, found = SETUPS[name], outcome(name, driver, dtype)
    accepts = setup.accepts
    if driver in {"lockstep", "recorded"} and not setup.stacks:
        accepts = (*accepts, Honest("refused"))
    if not isinstance(found, wb.Result):
        assert fitting(accepts, "refused", str(found)), f"refused, saying only: {found}"
        return
    assert any(a.kind != "refused" for a in accepts), "trained, and must be refused"
    off = differences(setup, found, dtype)
    honest = not off or fitting(accepts, "warned", " ".join(found.warnings))
    assert honest, f"other than the plain loop, without a word ({driver}): {'; '.join(off)}"


def fitting(accepts: Sequence[Honest], kind: str, words: str) -> bool:
    """Tell whether words are those of an accepted outcome."""
    return any(a.kind == kind and re.search(a.match, words) is not None for a in accepts)


def run(setup: Setup, driver: str, dtype: torch.dtype, **options: Any) -> wb.Result:
    """Run a set-up with one perturbed replica, and a snapshot of every second step."""
    return wb.run(
        wb.Task(**setup.recipe()),
        wb.Gaussian(0.01),
        replicas=1,
        record_every=2,
        driver=driver,  # type: ignore[arg-type]
        dtype=dtype,
        metrics=["l2"],
        progress=False,
        **options,
    )


def differences(setup: Setup, result: wb.Result, dtype: torch.dtype) -> list[str]:
    """Return in words where a result departs from the plain loop, and from its twin."""
    tolerance = setup.single if dtype == torch.float32 else setup.double
    rows: dict[str, dict[str, Tensor] | None] = {"reference": None}
    if setup.companions:
        first = result.trajectory.at(0)
        rows[first.labels[2]] = {k: t[2] for k, t in first.params.items()}
    found: list[str] = []
    for label, start in rows.items():
        expected = plain_loop.train(setup, dtype, start)
        found += against(result, label, expected, tolerance)
    return found


def against(
    result: wb.Result, label: str, expected: plain_loop.Plain, tolerance: float
) -> list[str]:
    """Return where one replica departs from a plain loop: first step, tensor and size."""
    found = []
    for snapshot in result.trajectory:
        row = snapshot.labels.index(label)
        there = {k: t[row] for k, t in {**snapshot.params, **snapshot.buffers}.items()}
        plain = expected.tensors[snapshot.step]
        absent = sorted(set(plain) ^ set(there))
        assert not absent, f"tensors in only one of the two: {absent}"
        sizes = {name: distance(there[name], value) for name, value in plain.items()}
        worst = max(sizes, key=lambda name: sizes[name])
        if not sizes[worst] <= tolerance:
            found = [*found[:1], f"{label}: {worst} off by {sizes[worst]:.2g} at {snapshot.step}"]
    place = result.labels.index(label)
    losses = torch.tensor(expected.losses, dtype=torch.float64)
    off = distance(result.trajectory.losses[:, place], losses)
    return found if off <= tolerance else [*found, f"{label}: losses off by {off:.2g}"]


def distance(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the larger of 1 and the largest expected number.

    Weights and losses here are of order 1 at most, and a bias that starts from 0 has no size
    of its own to be relative to. Numbers that are not finite must be the same.
    """
    if expected.is_complex() and not found.is_complex():
        expected = torch.view_as_real(expected)
    if found.shape != expected.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    wide = torch.complex128 if expected.is_complex() else torch.float64
    a, b = found.to(wide), expected.to(wide)
    same = (a == b) | (a.isnan() & b.isnan())
    off = torch.where(same, torch.zeros((), dtype=wide), a - b).abs()
    scale = max(1.0, float(torch.where(b.isfinite(), b, 0).abs().max()))
    size = float(off.max()) / scale
    return float("inf") if size != size else size


def twin_differences(result: wb.Result) -> list[str]:
    """Return where the null twin does not have exactly the bits of the reference."""
    found = []
    if result.noise_floor != 0.0:
        found.append(f"noise floor {result.noise_floor:.2g}")
    for snapshot in result.trajectory:
        for name, value in {**snapshot.params, **snapshot.buffers}.items():
            if not _same_bits(value[0], value[1]):
                return [*found, f"twin: {name} departs at {snapshot.step}"]
    losses = result.trajectory.losses
    return found if _same_bits(losses[:, 0], losses[:, 1]) else [*found, "twin: losses depart"]


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
