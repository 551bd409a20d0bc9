"""The loader: official formats, the order of places, labelled stand-ins, checked downloads."""

from __future__ import annotations

import gzip
import logging
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.errors import RequestError, StoreError
from wingbeat.tasks.data import sources
from wingbeat.tasks.data.sklearn import digits
from wingbeat.tasks.data.text import Corpus, encoded, grammar, vocabulary


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data folder, an empty cache, no network."""
    monkeypatch.delenv("WINGBEAT_DATA", raising=False)
    monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WINGBEAT_OFFLINE", "1")
    sources.fetched.cache_clear()


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def write_mnist(folder: Path, train: int = 30, test: int = 12) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True)
    draws, made = np.random.default_rng(0), {}
    for stem, n in (("train", train), ("t10k", test)):
        made[f"{stem}-images-idx3"] = draws.integers(0, 256, (n, 28, 28))
        made[f"{stem}-labels-idx1"] = draws.integers(0, 10, n)
    for name, array in made.items():
        (folder / f"{name}-ubyte.gz").write_bytes(idx(array))
    return made


def write_sst2(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text('sentence\tlabel\na fine film \t1\n"odd quote\t0\ncafé\t1\n')
    (folder / "dev.tsv").write_text("sentence\tlabel\nno \t0\n")


@pytest.mark.parametrize("inner", ["mnist", "MNIST/raw", "mnist-10k"])
def test_mnist_is_read_from_the_data_folder(monkeypatch, tmp_path: Path, inner: str) -> None:
    made = write_mnist(tmp_path / inner)
    monkeypatch.setenv("WINGBEAT_DATA", str(tmp_path))
    found = sources.images()
    assert (found.source.name, found.source.stand_in) == ("mnist", False)
    assert "subset" in found.source.label  # it has neither 60,000 nor 10,000 images
    expected = torch.from_numpy(made["train-images-idx3"]).float() / 255
    assert torch.equal(found.train[0][:, 0], expected)
    assert found.test[1].tolist() == made["t10k-labels-idx1"].tolist()


def test_the_cache_is_used_without_a_data_folder(tmp_path: Path) -> None:
    write_mnist(tmp_path / "cache/mnist")
    write_sst2(tmp_path / "cache/SST-2")
    assert sources.images().source.name == "mnist"
    assert sources.reviews().source.name == "sst2"


def test_sst2_is_read_line_by_line(monkeypatch, tmp_path: Path) -> None:
    write_sst2(tmp_path / "SST-2")
    monkeypatch.setenv("WINGBEAT_DATA", str(tmp_path))
    found = sources.reviews()
    assert found.train == Corpus(("a fine film", '"odd quote', "café"), (1, 0, 1))
    assert "whole sentences" in found.source.label


def test_stand_ins_never_carry_the_name() -> None:
    for found in (sources.images().source, sources.reviews().source):
        assert found.stand_in
        assert not re.search("mnist|sst", f"{found.name} {found.label}", re.IGNORECASE)
        assert "stand-in" in found.label


def test_enlarged_digits_are_the_digits() -> None:
    found, (train, _) = sources.images(), digits()
    assert found.train[0].shape == (1400, 1, 28, 28)
    assert torch.equal(found.train[0][:, :, 3:26:3, 3:26:3], train[0])
    assert float(found.train[0].sum()) == pytest.approx(9 * float(train[0].sum()))


def test_digests_notice_other_data(monkeypatch, tmp_path: Path) -> None:
    first = sources.images().source.digest
    assert first == sources.images().source.digest
    write_mnist(tmp_path / "mnist", train=31)
    monkeypatch.setenv("WINGBEAT_DATA", str(tmp_path))
    assert sources.images().source.digest != first


@pytest.mark.parametrize(
    "damage", [b"", b"junk", idx(np.zeros((2, 28, 28)))[:-20]], ids=["empty", "junk", "cut"]
)
def test_damaged_files_are_named(monkeypatch, tmp_path: Path, damage: bytes) -> None:
    write_mnist(tmp_path / "mnist")
    broken = tmp_path / "mnist/train-images-idx3-ubyte.gz"
    broken.write_bytes(damage)
    monkeypatch.setenv("WINGBEAT_DATA", str(tmp_path))
    with pytest.raises(StoreError, match="train-images"):
        sources.images()


def test_a_file_of_another_type_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "x.gz"
    place.write_bytes(gzip.compress(b"\x00\x00\x0d\x01\x00\x00\x00\x01abcd"))
    with pytest.raises(StoreError, match="no IDX file"):
        sources.read_idx(place)
    place.write_bytes(gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x09abcd"))
    with pytest.raises(StoreError, match=r"announces \(9,\)"):
        sources.read_idx(place)


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    place = tmp_path / "train.tsv"
    place.write_text("sentence\tlabel\ngood\t1\nbad\t2\n")
    with pytest.raises(StoreError, match="line 3"):
        sources.read_sentences(place)


def test_downloads_are_checked_and_a_missing_network_is_not_an_error(
    monkeypatch, tmp_path: Path
) -> None:
    """Pooch is replaced: what is asked of it, and what its errors become, is ours."""
    monkeypatch.delenv("WINGBEAT_OFFLINE")
    asked = []

    def retrieve(address: str, known_hash: str, **_: object) -> str:
        asked.append((address, known_hash))
        raise outcome

    fake = types.SimpleNamespace(
        HTTPDownloader=lambda **_: None,
        get_logger=lambda: logging.getLogger("pooch"),
        retrieve=retrieve,
    )
    monkeypatch.setitem(sys.modules, "pooch", fake)
    outcome: Exception = ConnectionError("no network")
    assert sources.images().source.stand_in
    assert asked[0][1] == f"sha256:{sources.MNIST_FILES['train-images-idx3-ubyte.gz']}"
    sources.fetched.cache_clear()
    outcome = ValueError("sha256 differs")
    with pytest.raises(StoreError, match="another hash"):
        sources.reviews()


def test_without_pooch_there_is_no_download(monkeypatch) -> None:
    monkeypatch.delenv("WINGBEAT_OFFLINE")
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert sources.reviews().source.name == "grammar"


@given(st.integers(1, 60), st.integers(0, 5))
def test_the_grammar_is_balanced_and_repeats(n: int, seed: int) -> None:
    made = grammar(n, seed)
    assert made == grammar(n, seed)
    assert abs(2 * sum(made.labels) - n) <= 1
    assert max(len(text.split()) for text in made.texts) <= 32


def test_counting_feelings_does_not_solve_the_grammar() -> None:
    """A bag of good and bad words is right on plain clauses only; the order decides the rest."""
    from wingbeat.tasks.data.text import _BAD, _GOOD

    made = grammar(4000)
    score = [
        sum(w in _GOOD for w in text.split()) - sum(w in _BAD for w in text.split())
        for text in made.texts
    ]
    right = np.mean([(s > 0) == bool(y) for s, y in zip(score, made.labels, strict=True)])
    assert 0.45 < right < 0.75


@given(st.lists(st.text("ab c", max_size=12), max_size=8), st.integers(2, 6))
def test_vocabulary_goes_by_frequency_then_alphabet(texts: list[str], size: int) -> None:
    words = vocabulary(texts, size)
    counts = {w: sum(t.split().count(w) for t in texts) for t in texts for w in t.split()}
    assert list(words) == sorted(counts, key=lambda w: (-counts[w], w))[: size - 2]
    assert list(words.values()) == list(range(2, 2 + len(words)))


def test_sentences_are_cut_padded_and_unknown_words_marked() -> None:
    numbers, labels = encoded(Corpus(("a b c d", "z", ""), (1, 0, 1)), {"a": 2, "b": 3}, 3)
    assert numbers.tolist() == [[2, 3, 1], [1, 0, 0], [0, 0, 0]]
    assert labels.tolist() == [1, 0, 1]


def test_a_subset_is_drawn_without_replacement() -> None:
    corpus = Corpus(tuple(map(str, range(20))), tuple(i % 2 for i in range(20)))
    part = corpus.subset(7, seed=3)
    assert len(set(part.texts)) == 7
    assert all(int(t) % 2 == y for t, y in zip(part.texts, part.labels, strict=True))
    with pytest.raises(RequestError, match="n is 21"):
        corpus.subset(21)
