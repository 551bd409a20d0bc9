"""A result can be pickled, as a worker of a pool returns it."""

from __future__ import annotations

import pickle

import pandas as pd
import torch
from plain_setup import recipe

import wingbeat as wb


def test_a_result_survives_a_round_trip(tmp_path) -> None:
    task = wb.Task(**recipe())
    for out in (None, tmp_path / "run"):
        result = wb.run(task, wb.Gaussian(0.01), replicas=2, driver="loop", out=out, progress=False)
        back = pickle.loads(pickle.dumps(result))
        pd.testing.assert_frame_equal(back.table, result.table)
        assert back.summary == result.summary
        assert back.warnings == result.warnings
        assert back.environment == result.environment
        assert back.labels == result.labels
        last = result.steps[-1]
        for name, value in result.trajectory.at(last).params.items():
            assert torch.equal(back.trajectory.at(last).params[name], value)
