"""A folder that is no finished run says what it is, and which one to load instead."""

from __future__ import annotations

from pathlib import Path

import pytest

import wingbeat as wb


def made(root: Path, *files: str) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")


@pytest.mark.parametrize(
    ("files", "asked", "says"),
    [
        (("runs/mine/summary.json",), "runs", "one lies below it, load 'runs/mine'"),
        (("a/x/summary.json", "a/y/z/summary.json"), "a", "load one of 'a/x', 'a/y/z'"),
        ([f"a/{n}/summary.json" for n in "123456"], "a", "'a/4' and 2 more"),
        (("a/summary.json", "a/seed-3/condition.json"), "a/seed-3", "one base seed of a run of"),
        (("a/records/x/record.json",), "a", r"read it with wb\.load_study\('a'\)"),
        (("a/condition.json",), "a", "an unfinished run: run the same command again"),
        (("a/fork.json", "a/runs/reference.log"), "a", "an unfinished run: run the same command"),
        (("a/summary.json",), "a/summary.json", "it is a file. Give the folder 'a'"),
        (("a/readme.txt",), "a", r"holds no run \(there is no summary\.json\)"),
        ((), "a", "holds no run: there is no such folder"),
    ],
)
def test_what_lies_there_is_said(tmp_path, monkeypatch, files, asked, says) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path, *files)
    with pytest.raises(wb.StoreError, match=says):
        wb.load(asked)
