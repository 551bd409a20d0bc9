"""Results side by side, called by the names of a dict, of a list, or of what was trained."""

from __future__ import annotations

import pytest
import torch

import wingbeat as wb

X = torch.linspace(-1, 1, 16).unsqueeze(1)


def result(rate: float) -> wb.Result:
    task = wb.Task(
        model=lambda: torch.nn.Linear(1, 1),
        loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        data=(X, 2 * X),
        optimizer=lambda params: torch.optim.SGD(params, lr=rate),
        batch_size=8,
        steps=4,
        name="line",
    )
    return wb.run(task, wb.Gaussian(0.1), driver="loop", replicas=2, metrics=["l2"])


def test_a_dict_names_its_results(tmp_path):
    slow, fast = result(0.1), result(0.2)
    found = wb.compare_results({"slow": slow, "fast": fast.save(tmp_path / "fast")})
    assert found.names == ("slow", "fast")
    assert list(found.table["run"]) == ["slow", "fast"]
    asked = wb.compare_results({"a": slow, "b": fast}, names=("slow", "fast"))
    assert asked.table.equals(found.table)
    assert wb.compare_results([slow, fast]).names == ("line (1)", "line (2)")


@pytest.mark.parametrize("few", [{}, {"one": "runs/one"}, [], "runs/one"])
def test_less_than_two_are_refused(few):
    with pytest.raises(wb.RequestError, match="at least two results"):
        wb.compare_results(few)
