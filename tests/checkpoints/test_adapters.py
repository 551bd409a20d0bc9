"""Low-rank adapters: the distance of what they add, against the products written out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wingbeat.checkpoints import compare

# How tools call the two factors of a layer.
NAMES = {
    "PEFT": ("base_model.model.q.lora_A.weight", "base_model.model.q.lora_B.weight"),
    "PEFT, named": ("q.lora_A.default.weight", "q.lora_B.default.weight"),
    "PEFT, embedding": ("e.lora_embedding_A", "e.lora_embedding_B"),
    "diffusers before": ("q.processor.to_q_lora.down.weight", "q.processor.to_q_lora.up.weight"),
    "kohya": ("lora_unet_q.lora_down.weight", "lora_unet_q.lora_up.weight"),
}


def pair(seed, rank=3, shape=(7, 5)):
    generator = torch.Generator().manual_seed(seed)
    down = torch.randn(rank, shape[1], generator=generator)
    return down, torch.randn(shape[0], rank, generator=generator)


def written(folder, names, factors, config=None):
    folder.mkdir()
    state = dict(zip(names, (f.contiguous() for f in factors), strict=True))
    save_file(state, folder / "adapter_model.safetensors")
    if config is not None:
        (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_distance_is_that_of_the_products(tmp_path, name):
    pairs = [pair(seed) for seed in (1, 2, 3)]
    paths = [written(tmp_path / str(i), NAMES[name], p) for i, p in enumerate(pairs)]
    found = compare(paths).adapters
    products = [(b.double() @ a.double()).numpy() for a, b in pairs]
    want = [np.linalg.norm(products[0] - p) for p in products]
    np.testing.assert_allclose(found.total, want, rtol=1e-12)
    np.testing.assert_allclose(found.relative, np.array(want) / np.linalg.norm(products[0]))
    assert len(found.layers) == 1


def test_other_factors_of_the_same_product_are_no_distance_apart(tmp_path):
    """The factors lie apart, and the model is the same."""
    a, b = (f.double() for f in pair(1))
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q * 2.0
    names = NAMES["PEFT"]
    first = written(tmp_path / "a", names, (a, b))
    other = written(tmp_path / "b", names, (torch.linalg.inv(turn) @ a, b @ turn))
    found = compare([first, other])
    assert found.l2[1] > 1.0
    assert found.adapters.total[1] < 1e-13


def test_a_small_difference_keeps_its_digits(tmp_path):
    """Not lost in the difference of two large squares."""
    a, b = (f.double() for f in pair(1))
    moved = b.clone()
    moved[0, 0] += 1e-9
    names = NAMES["PEFT"]
    paths = [written(tmp_path / n, names, (a, x)) for n, x in (("a", b), ("b", moved))]
    want = float(((moved - b) @ a).norm())
    np.testing.assert_allclose(compare(paths).adapters.total[1], want, rtol=1e-5)


def test_the_scale_of_the_configuration_counts(tmp_path):
    names, (a, b) = NAMES["PEFT"], pair(1)
    plain = written(tmp_path / "a", names, (a, b), {"lora_alpha": 6, "r": 3})
    stable = written(tmp_path / "b", names, (a, b), {"lora_alpha": 6, "r": 3, "use_rslora": True})
    found = compare([plain, stable]).adapters
    assert found.scales == (2.0, 6 / 3**0.5)
    want = abs(2.0 - 6 / 3**0.5) * float((b.double() @ a.double()).norm())
    np.testing.assert_allclose(found.total[1], want, rtol=1e-12)


def test_convolutions_and_the_table(tmp_path):
    names = ("c.lora_A.weight", "c.lora_B.weight")
    pairs = [(a.reshape(3, 5, 1, 1), b.reshape(7, 3, 1, 1)) for a, b in (pair(1), pair(2))]
    paths = [written(tmp_path / str(i), names, p) for i, p in enumerate(pairs)]
    found = compare(paths)
    first, second = ((b.flatten(1) @ a.flatten(1)).double() for a, b in pairs)
    rows = found.table.set_index(["metric", "layer"])
    want = pytest.approx(float((first - second).norm()), rel=1e-6)
    assert rows.value["l2_product", ""] == rows.value["l2_product", "c"] == want
    assert found.to_json()["adapters"]["l2"][1] == want
    assert "relative_l2_product" in set(found.table.metric)


def test_without_adapters_there_are_none(tmp_path):
    for name in "ab":
        save_file({"w": torch.ones(2)}, tmp_path / f"{name}.safetensors")
    found = compare([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])
    assert found.adapters is None
    assert found.to_json()["adapters"] is None
    assert "l2_product" not in set(found.table.metric)
