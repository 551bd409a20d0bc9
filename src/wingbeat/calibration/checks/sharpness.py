"""Sharpness by products against the Hessian written out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import optim

from wingbeat.calibration.check import ClosedForm, Placement, check
from wingbeat.calibration.checks.training_map import small_task
from wingbeat.curvature import Hessian, Operator, eigenpairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from wingbeat.task.task import Task


@check(
    "sharpness",
    "largest and smallest curvature against the dense Hessian",
    "Golub and Van Loan, Matrix Computations, section 10.3",
)
def sharpness(place: Placement) -> Iterator[ClosedForm]:
    """Compare Lanczos' ends with a known spectrum, and a net's with its dense Hessian."""
    known = place.tensor(5.0, 2.0, -7.0, 0.5, -100.0)
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0].to(known)
    ends = eigenpairs(Operator.of(turn @ torch.diag(known) @ turn.T), which="both")
    slack = 1e3 * place.rounding
    for name, expected, found in zip(
        ("largest", "smallest"), (5.0, -100.0), ends.values[0].tolist(), strict=True
    ):
        yield ClosedForm(f"{name} of 5, 2, .5, -7, -100", expected, found, 100 * slack)
    task = small_task(partial(optim.SGD, lr=0.1))
    hessian = Hessian(task, dtype=place.dtype, device=place.device)
    start, _ = hessian.start(0)
    found = eigenpairs(hessian.at(start), which="both").values[0].tolist()
    dense = torch.linalg.eigvalsh(_dense(task, start.flatten().cpu().double()))
    expected = dense[[-1, 0]].tolist()
    for name, one, other in zip(("largest", "smallest"), expected, found, strict=True):
        yield ClosedForm(f"a net's {name} curvature", one, other, slack)


def _dense(task: Task, weights: Tensor) -> Tensor:
    """Return the Hessian of the mean loss by torch's own double derivative, in float64."""
    model = task.model().double()
    shapes = {name: p.shape for name, p in model.named_parameters()}

    def loss(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [shape.numel() for shape in shapes.values()])
        named = {n: p.reshape(s) for (n, s), p in zip(shapes.items(), parts, strict=True)}
        x, y = task.data
        out = torch.func.functional_call(model, named, (x.double(),))
        return torch.nn.functional.cross_entropy(out, y)

    found: Tensor = torch.func.hessian(loss)(weights)
    return found
