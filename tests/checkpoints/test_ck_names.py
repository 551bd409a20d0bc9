"""Tensors that are not compared are named with the reason; odd tensors of ``.pt`` files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from checkpoints.ck_files import written

from wingbeat.checkpoints import compare, open_checkpoint
from wingbeat.checkpoints.names import match
from wingbeat.errors import RequestError


def test_what_is_left_out_is_named_with_its_reason(tmp_path):
    first = {
        "w": torch.ones(4),
        "count": torch.tensor(3),
        "norm.running_var": torch.ones(2),
        "only": torch.ones(1),
        "shape": torch.ones(2),
        "z": torch.ones(2, dtype=torch.complex64),
        "q.weight": torch.ones(4, dtype=torch.uint8),
        "q.weight.absmax": torch.ones(1),
        "g.qweight": torch.ones(4, dtype=torch.int32),
        "g.scales": torch.ones(1),
    }
    second = {k: v for k, v in first.items() if k != "only"} | {"shape": torch.ones(3)}
    found = compare(
        [written(tmp_path / "a.safetensors", first), written(tmp_path / "b.safetensors", second)]
    )
    assert {x.name: x.why for x in found.left_out} == {
        "count": "integer",
        "norm.running_var": "statistic",
        "only": "missing",
        "shape": "shape",
        "z": "complex",
        "q.weight": "quantised",
        "q.weight.absmax": "quantised",
        "g.qweight": "quantised",
        "g.scales": "quantised",
    }
    assert found.moments.names == ("w",)
    assert "b.safetensors" in next(x.detail for x in found.left_out if x.name == "only")


def test_tied_tensors_count_once_and_untied_ones_are_compared(tmp_path):
    w = torch.arange(6.0)
    torch.save({"embed": w, "head": w, "b": torch.ones(2)}, tmp_path / "tied.pt")
    kept = written(
        tmp_path / "kept.safetensors", {"embed": w + 1, "b": torch.ones(2)}, head="embed"
    )
    both = compare([tmp_path / "tied.pt", kept])
    assert [(x.name, x.why) for x in both.left_out] == [("head", "tied")]
    assert both.l2[1] == np.sqrt(6)
    untied = written(
        tmp_path / "untied.safetensors", {"embed": w, "head": w + 2, "b": torch.ones(2)}
    )
    found = compare([tmp_path / "tied.pt", untied])
    assert found.left_out == ()
    assert found.l2[1] == np.sqrt(24)


def test_strided_quantised_and_wrapped_tensors_of_a_pt_file(tmp_path):
    base = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    flat = torch.randn(40, generator=torch.Generator().manual_seed(1))
    wanted = {"t": base.T, "slice": flat[3:17], "every": flat[::3]}
    extra = {"p": torch.nn.Parameter(torch.ones(3))}
    torch.save({f"module.{k}": v for k, v in (wanted | extra).items()}, tmp_path / "a.pt")
    plain = {k: v.detach().contiguous().clone() for k, v in (wanted | extra).items()}
    found = compare([tmp_path / "a.pt", written(tmp_path / "b.safetensors", plain)])
    assert found.l2[1] == 0.0
    assert set(found.moments.names) == set(plain)
    assert found.left_out == ()
    with pytest.warns(UserWarning, match="deprecated"):
        packed = torch.quantize_per_tensor(base, 0.1, 0, torch.qint8)
    torch.save({**plain, "q": packed}, tmp_path / "q.pt")
    found = compare([tmp_path / "q.pt", tmp_path / "b.safetensors"])
    assert found.l2[1] == 0.0
    source = open_checkpoint(tmp_path / "q.pt")
    _, left = match([source, source], ["a", "b"])
    assert [(x.name, x.why) for x in left] == [("q", "quantised")]


def test_keys_of_a_training_checkpoint(tmp_path):
    content = {"first": {"w": torch.ones(2)}, "second": {"w": torch.zeros(2)}, "epoch": 3}
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(RequestError, match=r"'first', 'second'.*key="):
        open_checkpoint(tmp_path / "a.pt")
    assert list(open_checkpoint(tmp_path / "a.pt", key="second").entries) == ["w"]
    with pytest.raises(RequestError, match="has no 'third'"):
        open_checkpoint(tmp_path / "a.pt", key="third")
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(RequestError, match="save model"):
        open_checkpoint(tmp_path / "list.pt")


EIGHT_BITS = [n for n in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
                          "float8_e8m0fnu") if hasattr(torch, n)]  # fmt: skip
# The names under which tools write codes and scales.
SCALES = {
    "compressed-tensors, FBGEMM": ("fc.weight", "fc.weight_scale"),
    "DeepSeek-V3": ("fc.weight", "fc.weight_scale_inv"),
    "ModelOpt": ("fc.weight", "fc.weight_scale_2"),
    "ComfyUI": ("fc.weight", "fc.scale_weight"),
    "torchao": ("fc._weight_qdata", "fc._weight_scale"),
    "at the top": ("weight", "weight_scale"),
    "packed": ("fc.weight_packed", "fc.weight_scale"),
}


@pytest.mark.parametrize("dtype", EIGHT_BITS)
@pytest.mark.parametrize("tool", SCALES)
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_codes_of_eight_bits_with_scales_are_not_compared_as_weights(tmp_path, dtype, tool, suffix):
    """The same weights under two scales: their codes differ by a factor, the weights do not."""
    weight, bias = torch.rand(4, 3) + 0.5, torch.ones(2)
    name, scale = SCALES[tool]
    for file, size in (("a", 0.01), ("b", 0.5)):
        codes = (weight / size).to(getattr(torch, dtype))
        state = {name: codes, scale: torch.tensor([size]), "bias": bias}
        path = tmp_path / f"{file}.{suffix}"
        torch.save(state, path) if suffix == "pt" else written(path, state)
    found = compare([tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"])
    assert found.moments.names == ("bias",)
    assert found.l2[1] == 0.0
    assert {x.name: x.why for x in found.left_out} == {name: "quantised", scale: "quantised"}


def test_eight_bits_without_scales_are_numbers_and_beside_scales_are_not(tmp_path):
    weight = torch.tensor([[1.0, 2.0], [0.5, 4.0]])
    plain = written(tmp_path / "plain.safetensors", {"w": weight, "b": torch.ones(2)})
    codes = {"w": weight.to(torch.float8_e4m3fn), "b": torch.ones(2)}
    found = compare([plain, written(tmp_path / "codes.safetensors", codes)])
    assert (found.moments.names, found.l2[1]) == (("b", "w"), 0.0)
    scaled = written(tmp_path / "scaled.safetensors", {**codes, "w_scale_inv": torch.ones(1)})
    left = {x.name: x.why for x in compare([plain, scaled]).left_out}
    assert left == {"w": "quantised", "w_scale_inv": "missing"}
