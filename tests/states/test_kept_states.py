"""Fitted states as a file: they decode as before, a changed bit is refused, others can read it."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from planted_states import forking, needs_hmmlearn, series
from safetensors import safe_open
from safetensors.torch import save_file
from test_states_outside import NAMES, saved_by_hand

from wingbeat.analyses.states import detours, fit_states, load_states, save_states, series_of
from wingbeat.errors import RequestError, StoreError
from wingbeat.execution.external import measure_checkpoints

pytestmark = needs_hmmlearn


@pytest.fixture(scope="module")
def fitted():
    x, _, _ = forking(runs=8, length=30)
    return fit_states(series(x), (2, 3), restarts=2)


def test_what_is_read_is_what_was_written_to_the_bit(fitted, tmp_path):
    again = load_states(save_states(fitted, tmp_path / "states.safetensors"))
    for name in ("start", "transitions", "means", "covariances", "converged", "spread"):
        assert np.array_equal(getattr(again.model, name), getattr(fitted.model, name))
    for name in ("runs", "names", "steps", "left_out", "dropped"):
        assert getattr(again.series, name) == getattr(fitted.series, name)
    assert np.array_equal(again.series.values, fitted.series.values)
    assert again.series.scale.how == "pooled"
    assert np.array_equal(again.paths, fitted.paths)
    pd.testing.assert_frame_equal(again.selection, fitted.selection)
    pd.testing.assert_frame_equal(again.table, fitted.table)
    pd.testing.assert_frame_equal(again.map, fitted.map)
    _, times, _ = forking(runs=8, length=30)
    assert str(detours(again, times)) == str(detours(fitted, times))
    x, _, _ = forking(runs=3, length=30, seed=7)
    other = series(x)
    assert np.array_equal(again.follow(other), fitted.follow(other))
    twice = save_states(again, tmp_path / "twice.safetensors").read_bytes()
    assert twice == (tmp_path / "states.safetensors").read_bytes()


@pytest.mark.parametrize("how", ["run", "none"])
def test_other_scales_are_kept_too(how, tmp_path):
    x, _, _ = forking(runs=6, length=20)
    one = fit_states(series(x), (2,), restarts=1, standardise=how)
    again = load_states(save_states(one, tmp_path / "s"))
    later = series(forking(runs=2, length=20, seed=5)[0])
    assert np.array_equal(again.follow(later), one.follow(later))


def test_a_training_that_goes_on_is_followed_from_its_first_steps(fitted, tmp_path):
    again = load_states(save_states(fitted, tmp_path / "s"))
    whole = series(forking(runs=2, length=30, seed=9)[0])
    begun = replace(whole, steps=whole.steps[:12], values=whole.values[:, :12])
    found = again.follow(begun)
    assert found.shape == (2, 12)
    assert np.array_equal(found[:, :8], again.follow(whole)[:, :8])
    shifted = replace(begun, steps=tuple(s + 10 for s in begun.steps))
    with pytest.raises(RequestError, match="same steps"):
        again.follow(shifted)
    x, _, _ = forking(runs=6, length=30)
    alone = fit_states(series(x), (2,), restarts=1, standardise="run")
    with pytest.raises(RequestError, match="same steps"):
        alone.follow(begun)


def test_others_read_it_and_nothing_is_pickled(fitted, tmp_path, monkeypatch):
    path = save_states(fitted, tmp_path / "states.safetensors")
    with safe_open(path, framework="np") as file:
        assert np.array_equal(file.get_tensor("means"), fitted.model.means)
        said = json.loads(file.metadata()["wingbeat"].partition(" ")[2])
    assert said["names"] == list(fitted.series.names)
    assert said["standardised"] == "pooled"

    def refused(*_, **__):
        raise AssertionError("something was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refused)
    monkeypatch.setattr(torch, "load", refused)
    assert np.array_equal(load_states(path).paths, fitted.paths)


def test_every_altered_byte_is_refused(fitted, tmp_path):
    path = save_states(fitted, tmp_path / "states.safetensors")
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 60).astype(int):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(StoreError, match=r"states\.safetensors"):
            load_states(path)
    path.write_bytes(whole[:-8])
    with pytest.raises(StoreError, match="damaged"):
        load_states(path)
    path.write_bytes(whole)
    assert np.array_equal(load_states(path).paths, fitted.paths)


def test_what_is_no_file_of_states_is_refused(tmp_path):
    with pytest.raises(StoreError, match="missing"):
        load_states(tmp_path / "nothing.safetensors")
    save_file({"means": torch.zeros(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(StoreError, match="altered"):
        load_states(tmp_path / "plain.safetensors")
    from wingbeat.trajectory.tensorfile import write_tensors

    write_tensors(tmp_path / "other", {"means": torch.zeros(2)}, {"kind": "a snapshot"})
    with pytest.raises(StoreError, match=r"holds 'a snapshot'.*save_states"):
        load_states(tmp_path / "other")


def test_new_checkpoints_of_a_loop_by_hand_are_told_their_states(tmp_path):
    """Six seeds are fitted and kept; the checkpoints of others come later, and are decoded."""
    for part in ("old", "new"):
        (tmp_path / part).mkdir()
        saved_by_hand(tmp_path / part)
    old = series_of([measure_checkpoints(f"{tmp_path}/old/run-*/step-*", ["weight_statistics"])],
                    NAMES)  # fmt: skip
    path = save_states(fit_states(old, (2,), restarts=2), tmp_path / "states.safetensors")
    again = load_states(path)
    pattern = f"{tmp_path}/new/run-*/step-*"
    new = series_of([measure_checkpoints(pattern, ["weight_statistics"])], NAMES)
    assert np.array_equal(again.follow(new), again.paths)
    wrong = replace(new, names=("a", "b", "c"))
    with pytest.raises(RequestError, match="other statistics"):
        again.follow(wrong)
