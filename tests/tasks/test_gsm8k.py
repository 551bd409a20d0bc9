"""GSM8K's format, its parser, and the tokens that carry it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.errors import RequestError, StoreError
from wingbeat.tasks.data import gsm8k
from wingbeat.tasks.data.gsm8k import (
    Problem,
    final_answer,
    read_problems,
    sums,
    without_calculations,
)
from wingbeat.tasks.data.tokens import ByteTokenizer, padded

NUMBERS = st.decimals(-(10**9), 10**9, allow_nan=False, allow_infinity=False, places=2)


@given(NUMBERS, st.booleans(), st.sampled_from(["", "$"]), st.sampled_from(["", ".", "%"]))
def test_the_final_answer_is_read_whatever_is_around_it(
    number: Decimal, commas: bool, before: str, after: str
) -> None:
    written = f"{number:,}" if commas else f"{number}"
    assert final_answer(f"so #### 1 and then\n#### {before}{written}{after} \n") == number


@given(st.text())
def test_the_parser_never_fails(text: str) -> None:
    found = final_answer(text)
    assert found is None or found.is_finite()
    if "####" not in text:
        assert found is None


@pytest.mark.parametrize("text", ["#### 1 2", "#### ten", "####", "5", "#### 1,2,", "#### 1e3"])
def test_what_is_no_number_is_none_or_a_number_of_digits(text: str) -> None:
    assert final_answer(text) == (Decimal(12) if text == "#### 1,2," else None)


@given(st.text(alphabet="abc 1+=<>\n", max_size=30), st.text(alphabet="12*=", max_size=8))
def test_calculations_are_left_out_and_nothing_else(before: str, inside: str) -> None:
    clean = without_calculations(before)
    assert without_calculations(f"{clean}|<<{inside}>>|x") == f"{clean}||x"


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=20), st.text(max_size=20), st.integers(0, 10**6)),
        min_size=1,
        max_size=5,
    )
)
def test_a_file_of_the_official_format_is_read_back(tmp_path_factory, made) -> None:
    path = tmp_path_factory.mktemp("gsm8k") / "train.jsonl"
    rows = [{"question": q, "answer": f"{way}\n#### {final:,}"} for q, way, final in made]
    ascii_only = len(made) % 2 == 0
    text = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows) + "\n"
    path.write_text(text, encoding="utf-8")
    found = read_problems(path)
    assert [(p.question, p.reasoning, p.value) for p in found] == [
        (q.strip(), way.strip(), Decimal(final)) for q, way, final in made
    ]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("{", "line 2"),
        ("[1]", "line 2"),
        ('{"question": "q"}', "answer"),
        ('{"question": "q", "answer": "no mark"}', "####"),
        ('{"question": 3, "answer": "#### 3"}', "line 2"),
        ('{"question": "q", "answer": 5}', "line 2"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, word: str) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"question": "q", "answer": "#### 3"}\n' + line, encoding="utf-8")
    with pytest.raises(StoreError, match=word) as error:
        read_problems(path)
    assert "test.jsonl" in str(error.value)


def test_an_empty_or_missing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n\n")
    for name in ("a.jsonl", "b.jsonl"):
        with pytest.raises(StoreError, match=name):
            read_problems(tmp_path / name)


def test_without_the_folder_a_stand_in_says_so(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WINGBEAT_DATA", raising=False)
    monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path))
    found = gsm8k.problems()
    assert found.source.stand_in
    assert "GSM8K" not in found.source.label
    for problem in found.train[:200]:
        (*_, last) = problem.reasoning.split(">>")
        assert last.split()[0] == problem.final  # the way leads to the answer
        assert eval(problem.reasoning.split("<<")[-1].split("=")[0]) == int(problem.final)


def test_the_loader_finds_the_folder(monkeypatch, tmp_path: Path) -> None:
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    for name, count in (("train", 3), ("test", 2)):
        rows = [{"question": f"{i}?", "answer": f"so\n#### {i}"} for i in range(count)]
        lines = "\n".join(map(json.dumps, rows))
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.setenv("WINGBEAT_DATA", str(tmp_path))
    found = gsm8k.problems()
    assert (found.source.name, len(found.train), len(found.test)) == ("gsm8k", 3, 2)
    assert found.train[2] == Problem("2?", "so", "2")


def test_sums_need_a_count() -> None:
    with pytest.raises(RequestError, match="n is 0"):
        sums(0)


@given(st.text(max_size=40))
def test_bytes_come_back(text: str) -> None:
    tokenizer = ByteTokenizer()
    (numbers,) = tokenizer.whole([text])
    assert tokenizer.text(numbers) == text.encode("utf-8", "replace").decode("utf-8")
    assert numbers[-1] == tokenizer.end
    assert all(2 <= n < tokenizer.size for n in numbers[:-1])


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), max_size=4), st.integers(2, 9)
)
def test_padding_keeps_beginning_and_end(rows: list[list[int]], length: int) -> None:
    ids, mask = padded(rows, length, pad=0)
    assert ids.shape == mask.shape == (len(rows), length)
    for row, got, own in zip(rows, ids, mask, strict=True):
        kept = int(own.sum())
        assert kept == min(len(row), length)
        assert got[: kept - 1].tolist() == row[: kept - 1]
        assert int(got[kept - 1]) == row[-1]
        assert torch.equal(own, (torch.arange(length) < kept).long())
        assert not got[kept:].any()


def test_padding_refuses_nothing_to_pad() -> None:
    with pytest.raises(RequestError, match="text 1"):
        padded([[1], []], 4, 0)
    with pytest.raises(RequestError, match="length"):
        padded([[1]], 1, 0)
