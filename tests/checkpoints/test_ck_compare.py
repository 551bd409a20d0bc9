"""Streamed comparisons equal plain NumPy in memory, whatever format, type, block and memory."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from checkpoints.ck_files import TYPES, points, sharded, state, written
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat import metrics
from wingbeat.checkpoints import compare, open_checkpoint, read_plan
from wingbeat.checkpoints.compare import short_labels
from wingbeat.checkpoints.memory import parse_memory
from wingbeat.checkpoints.moments import layer_of
from wingbeat.checkpoints.source import read_whole
from wingbeat.errors import CONSTANT, DIVERGED, RequestError

EXACT = {"rtol": 1e-12, "atol": 0}


def several(folder, count=4, dtypes=TYPES):
    states = [state(i, dtypes[i % len(dtypes)]) for i in range(count)]
    paths = [written(folder / f"c{i}.safetensors", s) for i, s in enumerate(states)]
    return states, paths


def test_scalars_equal_float64_numpy(tmp_path):
    states, paths = several(tmp_path)
    found, p = compare(paths), points(states)
    apart = p - p[0]
    np.testing.assert_allclose(found.l2, np.sqrt((apart**2).sum(axis=1)), **EXACT)
    np.testing.assert_allclose(found.relative_l2, found.l2 / np.sqrt((p[0] ** 2).sum()), **EXACT)
    norms = np.sqrt((p**2).sum(axis=1))
    np.testing.assert_allclose(found.cosine, p @ p[0] / norms / norms[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.spread, np.sqrt(p.var(axis=0).sum()), **EXACT)
    assert found.parameters == p.shape[1]
    assert found.l2[0] == 0.0
    assert found.cosine[0] == 1.0


def test_gram_and_components_equal_the_metrics_on_points_in_memory(tmp_path):
    states, paths = several(tmp_path, 6)
    found, p = compare(paths), points(states)
    np.testing.assert_allclose(found.gram, metrics.gram(p, centre="first"), rtol=1e-11, atol=1e-9)
    mine, theirs = found.pca(3), metrics.trajectory_pca(p, 3)
    np.testing.assert_allclose(mine.explained, theirs.explained, rtol=1e-11)
    np.testing.assert_allclose(mine.scores, theirs.scores, rtol=1e-8, atol=1e-8)
    pairs = np.sqrt(((p[:, None] - p) ** 2).sum(axis=-1))
    np.testing.assert_allclose(found.distances, pairs, rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(found.spread, metrics.spread(p), **EXACT)


def test_every_row_of_the_table_equals_numpy(tmp_path):
    states, paths = several(tmp_path, 3)
    found = compare(paths, labels=["x", "y", "z"], steps=[5, 7, 11])
    table = found.table
    assert list(table.columns) == [
        "metric", "step", "perturbation", "a", "b", "layer", "value", "reason",
    ]  # fmt: skip
    layers = {"": None, **{n: [n] for n in states[0] if states[0][n].numel()}}
    layers["layers.0.*"] = ["layers.0.w", "layers.0.b"]
    for layer, names in layers.items():
        chosen = [s if names is None else {n: s[n] for n in names} for s in states]
        p = points(chosen)
        for i, (label, step) in enumerate([("x", 5), ("y", 7), ("z", 11)]):
            own = table[(table.b == label) & (table.a == "x") & (table.layer == layer)]
            if i:
                values = own.set_index("metric")["value"]
                assert set(own.step) == {step}
                np.testing.assert_allclose(values["l2"], metrics.l2(p[0], p[i]), **EXACT)
                np.testing.assert_allclose(
                    values["relative_l2"], metrics.relative_l2(p[0], p[i]), **EXACT
                )
                np.testing.assert_allclose(
                    values["cosine"], metrics.cosine(p[0], p[i]), rtol=1e-12, atol=1e-13
                )
        spread = table[(table.metric == "spread") & (table.layer == layer)]
        np.testing.assert_allclose(spread.value.item(), metrics.spread(p), **EXACT)
    pair = table[(table.a == "y") & (table.b == "z")].set_index("metric")["value"]
    p = points(states)
    np.testing.assert_allclose(pair["l2"], metrics.l2(p[1], p[2]), rtol=1e-12)
    np.testing.assert_allclose(pair["relative_l2"], metrics.relative_l2(p[1], p[2]), rtol=1e-12)
    np.testing.assert_allclose(pair["cosine"], metrics.cosine(p[1], p[2]), rtol=1e-9)
    assert {"pc1", "pc2", "pca_explained"} <= set(table.metric)
    assert (table.reason[table.layer != "none"] == "").all()


def test_an_empty_tensor_has_no_relative_distance_and_says_why(tmp_path):
    _, paths = several(tmp_path, 2)
    table = compare(paths).table
    rows = table[table.layer == "none"].set_index("metric")
    assert rows.value["l2"] == 0.0
    assert np.isnan(rows.value["relative_l2"])
    assert rows.reason["relative_l2"] == rows.reason["cosine"] == CONSTANT


def test_tiny_distances_beside_large_weights_keep_their_precision(tmp_path):
    base = {"w": torch.full((70001,), 1e3, dtype=torch.float64)}
    moved = {"w": base["w"].clone()}
    moved["w"][::7] += 2.0**-30
    paths = [written(tmp_path / "a.safetensors", base), written(tmp_path / "b.safetensors", moved)]
    wanted = 2.0**-30 * np.sqrt(10001)
    np.testing.assert_allclose(compare(paths).l2[1], wanted, **EXACT)
    same = compare([paths[0], paths[0]])
    assert same.l2.tolist() == [0.0, 0.0]
    assert same.spread == 0.0
    assert same.cosine.tolist() == [1.0, 1.0]
    assert same.labels[0] != same.labels[1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("apart", [0.0, 1e-6, 0.2, 0.3, 0.4, 1.0, 30.0, 1e6])
def test_two_checkpoints_near_and_far_apart(tmp_path, dtype, apart):
    """Far ones are not subtracted number by number: the same value, on both sides of the border."""
    draw = torch.Generator().manual_seed(2)
    count = 2 * read_plan.quantum_of(2) + 7
    first, noise = (torch.randn(count, generator=draw, dtype=torch.float64) for _ in range(2))
    noise[: count // 2] *= 1e-3  # near and far in one block
    pair = [first.to(dtype), (first + apart * noise).to(dtype)]
    paths = [written(tmp_path / f"{i}.safetensors", {"w": w}) for i, w in enumerate(pair)]
    a, b = (w.double().numpy() for w in pair)
    found = compare(paths)
    np.testing.assert_allclose(found.l2[1], np.linalg.norm(b - a), **EXACT)
    np.testing.assert_allclose(found.cosine[1], metrics.cosine(a, b), rtol=1e-12)
    assert compare([paths[1], paths[0]]).l2[1] == pytest.approx(found.l2[1], rel=1e-13)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_sixteen_bit_number_is_read_exactly(tmp_path, dtype):
    """All 65,536 bit patterns against conversions written with the standard library."""
    import struct

    bits = torch.arange(-(2**15), 2**15).to(torch.int16)
    path = written(tmp_path / "all.safetensors", {"w": bits.view(dtype)})
    got = read_whole(open_checkpoint(path).entries["w"]).double().numpy()
    raw = (bits.int().numpy() & 0xFFFF).astype("<u2")
    if dtype is torch.float16:
        wanted = [struct.unpack("<e", r.tobytes())[0] for r in raw]
    else:
        wanted = [struct.unpack("<f", b"\0\0" + r.tobytes())[0] for r in raw]
    np.testing.assert_array_equal(got, np.array(wanted, dtype=np.float64))
    finite = np.isfinite(wanted)
    one = written(tmp_path / "a.safetensors", {"w": bits.view(dtype)[torch.tensor(finite)]})
    two = written(tmp_path / "z.safetensors", {"w": torch.zeros(int(finite.sum()), dtype=dtype)})
    exact = np.sqrt(np.sum(np.array(wanted)[finite] ** 2))
    np.testing.assert_allclose(compare([two, one]).l2[1], exact, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bit_floats_are_read(tmp_path, dtype):
    values = torch.tensor([0.5, -1.75, 2.0, 0.0625])
    paths = [
        written(tmp_path / "a.safetensors", {"w": values.to(dtype)}),
        written(tmp_path / "b.safetensors", {"w": values + 1}),
    ]
    assert compare(paths).l2[1] == 2.0


def test_bits_do_not_depend_on_memory_block_or_threads(tmp_path, monkeypatch):
    _, paths = several(tmp_path, 3)
    paths.append(written(tmp_path / "big.safetensors", {**state(9), "layers.1.w": torch.ones(9)}))
    wide = torch.randn(300_001, generator=torch.Generator().manual_seed(1))
    for i in range(3):
        paths[i] = written(tmp_path / f"c{i}.safetensors", {**state(i), "wide": wide * (i + 1)})
    paths = paths[:3]
    wanted = compare(paths, "1GiB").gram
    assert read_plan.make_plan(3, 4, 2**30).workers > read_plan.make_plan(3, 4, 2**20).workers
    for memory in ("1MiB", "9MiB"):
        assert (compare(paths, memory).gram == wanted).all()
    for workers in (1, 3):
        monkeypatch.setitem(read_plan.make_plan.__kwdefaults__, "workers", workers)
        for size in (1 << 12, 1 << 17, 1 << 24):
            monkeypatch.setattr(read_plan, "_TAKEN", size)
            assert (compare(paths).gram == wanted).all()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert (compare(paths).gram == wanted).all()
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 400), st.sampled_from([1, 2, 4, 8]), st.integers(1, 2**34))
def test_a_plan_stays_within_its_memory_or_is_refused(count, width, memory):
    least = read_plan.make_plan(count, width, 2**40, workers=1)
    if memory < least.bytes:
        with pytest.raises(RequestError, match="allow"):
            read_plan.make_plan(count, width, memory)
        return
    plan = read_plan.make_plan(count, width, memory)
    assert plan.bytes <= memory
    assert plan.block % plan.quantum == 0
    assert plan.block >= plan.quantum == read_plan.quantum_of(count)


@pytest.mark.parametrize("layout", ["single", "sharded", "pt", "nested", "old"])
def test_formats_give_the_same_bits(tmp_path, layout):
    one, two = state(1), state(2)
    base = [written(tmp_path / f"{i}.safetensors", s) for i, s in enumerate((one, two))]
    wanted = compare(base)
    if layout == "single":
        other = base[1]
    elif layout == "sharded":
        other = sharded(tmp_path / "hf", two, 3)
    else:
        other = tmp_path / "two.pt"
        content = {"model": two, "optimizer": {"m": torch.ones(3)}, "step": 4}
        options = {"_use_new_zipfile_serialization": False} if layout == "old" else {}
        torch.save(content if layout == "nested" else two, other, **options)
    found = compare([base[0], other])
    assert (found.gram == wanted.gram).all()
    assert found.moments.names == wanted.moments.names
    assert (found.table.value.dropna() == wanted.table.value.dropna()).all()


def test_not_finite_weights_are_undefined_with_a_reason(tmp_path):
    states, _ = several(tmp_path, 3)
    states[1]["layers.0.b"][2] = float("nan")
    paths = [written(tmp_path / f"n{i}.safetensors", s) for i, s in enumerate(states)]
    found = compare(paths)
    assert np.isnan(found.l2).tolist() == [False, True, False]
    p = points([states[0], states[2]])
    np.testing.assert_allclose(found.l2[2], metrics.l2(p[0], p[1]), **EXACT)
    table = found.table
    lost = table[(table.b == found.labels[1]) & (table.layer == "layers.0.b")]
    assert set(lost.reason) == {DIVERGED}
    assert table[(table.layer == "layers.0.w")].value.notna().all()
    parsed = json.loads(found.json())
    assert parsed["l2"][1] is None
    turned = compare([paths[1], paths[0]])
    assert np.isnan(turned.l2[1])
    assert np.isnan(turned.spread)


def test_zero_reference_has_no_relative_distance(tmp_path):
    a = written(tmp_path / "a.safetensors", {"w": torch.zeros(3)})
    b = written(tmp_path / "b.safetensors", {"w": torch.ones(3)})
    found = compare([a, b])
    assert found.l2[1] == np.sqrt(3)
    assert np.isnan(found.relative_l2[1])
    assert np.isnan(found.cosine[1])
    row = found.table[(found.table.metric == "cosine") & (found.table.layer == "")]
    assert row.reason.item() == CONSTANT


def test_requests_that_make_no_sense_are_refused(tmp_path):
    _, paths = several(tmp_path, 2)
    with pytest.raises(RequestError, match="two or more"):
        compare(paths[:1])
    with pytest.raises(RequestError, match="3 labels for 2 paths"):
        compare(paths, labels=["a", "b", "c"])
    with pytest.raises(RequestError, match="1 steps for 2 paths"):
        compare(paths, steps=[1])
    with pytest.raises(RequestError, match=r"100 B of memory.*allow"):
        compare(paths, 100)
    for bad in ("lots", "-1GiB", "0", 0, True, "1 XB"):
        with pytest.raises(RequestError, match="memory is"):
            parse_memory(bad)
    other = written(tmp_path / "o.safetensors", {"x": torch.ones(2)})
    with pytest.raises(RequestError, match=r"no floating-point tensor.*missing"):
        compare([paths[0], other])


def test_labels_blocks_and_progress(tmp_path):
    assert short_labels([tmp_path / "a", tmp_path / "b"]) == ("a", "b")
    assert len(set(short_labels([tmp_path / "a", tmp_path / "a"]))) == 2
    assert layer_of("a.10.b.3.w") == "a.10.*"
    assert layer_of("0.weight") == "0.*"
    _, paths = several(tmp_path, 2)
    seen = []
    compare(paths, progress=lambda *facts: seen.append(facts))
    words, done, total = seen[-1]
    assert (words, done) == ("comparing", total)
    assert [d for _, d, _ in seen] == sorted(d for _, d, _ in seen)


def test_json_csv_and_picture(tmp_path):
    _, paths = several(tmp_path, 3)
    names = ["=cmd()", "+1", "b\n$x$"]
    found = compare(paths, labels=names)
    parsed = json.loads(found.json())
    assert parsed["labels"] == names
    assert parsed["l2"] == found.l2.tolist()
    assert {x["name"] for x in parsed["layers"]} == set(found.moments.names)
    table = pd.read_csv(found.to_csv(tmp_path / "t.csv"), keep_default_na=False, na_values=[""])
    assert len(table) == len(found.table)
    np.testing.assert_array_equal(table.value.to_numpy(float), found.table.value.to_numpy())
    picture = tmp_path / "p.png"
    compare(paths[:2]).plot(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
