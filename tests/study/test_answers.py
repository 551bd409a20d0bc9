"""The answer to a study's question stands first: on page, in results, terminal and JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from wingbeat.cli.show_study import finished
from wingbeat.stats import Estimate
from wingbeat.study.analysis import PageContent
from wingbeat.study.answer import answer_of, main_claims
from wingbeat.study.named import STUDIES, Finding, NamedStudy
from wingbeat.study.verdicts import Claim, judge

SURE, NEAR, OPEN = Estimate(9.0, 8.9, 9.1), Estimate(2.0, 1.05, 2.95), Estimate(2.0, 0.5, 3.5)


def claim(ident: str, found: Estimate | None, text: str = "", **more: Any) -> Claim:
    said = "–" if found is None else f"size: {found.value:g} [{found.low:g} to {found.high:g}]"
    return Claim(
        ident, text or f"{ident} is large.", "", said, judge(found, 1.0, above=True), **more
    )


def judged(study: NamedStudy, claims: tuple[Claim, ...], folder: Any) -> tuple[Finding, list[str]]:
    """Judge a study whose claims, tables and page are planted, all else its own."""
    folder.mkdir(exist_ok=True)
    rows = pd.DataFrame({"key": ["k"], "status": ["done"]})
    made: Any = SimpleNamespace(conditions=rows, failures=(), folder=folder, environments={})
    planted = replace(
        study, read=lambda *_: None, tables=lambda _: {}, claims=lambda _: claims,
        page=lambda _: PageContent("", ("What was done.",), (), {}),
    )  # fmt: skip
    said: list[str] = []
    return planted.judge(study.plan, made, said.append, "command"), said


@pytest.mark.parametrize("name", STUDIES.all())
def test_the_headline_of_each_study_holds_verdict_and_interval_of_its_main_claim(
    name: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    study = STUDIES.find(name)
    if not study.answers:
        assert name == "lr-phases"  # tests no claim: its page says the ranges of rates
        return
    idents = [re.sub(r"\[.*?\]|\*", "x", a.partition("/")[0]) for a in study.answers]
    parts = [a.partition("/")[2].replace("*", "") for a in study.answers]
    for estimate, verdict in ((SURE, "holds"), (OPEN, "undetermined")):
        own = tuple(
            claim(ident, estimate, part=part, needed=7 * (verdict == "undetermined"))
            for ident, part in zip(idents, parts, strict=True)
        )
        others = tuple(claim(f"other {i}", NEAR) for i in range(9))
        found, said = judged(study, (*others, *own), tmp_path / verdict)
        number = f"[{estimate.low:g} to {estimate.high:g}]"
        texts = [found.headline, said[-2]]
        texts += [
            (tmp_path / verdict / n).read_text("utf-8") for n in ("report.html", "results.md")
        ]
        texts.append(json.loads((tmp_path / verdict / "summary.json").read_text())["headline"])
        finished(found, as_json_text=True)
        texts.append(json.loads(capsys.readouterr().out)["headline"])
        for text in texts:
            assert f": {verdict}" in text
            assert number in text
            assert ("7 base seeds would decide it" in text) == (verdict == "undetermined")
        assert "holds" not in found.headline or verdict == "holds"
        assert study.help in texts[3]


def test_a_decision_that_many_claims_would_make_by_chance_is_said_to_be_one() -> None:
    claims = (claim("a", NEAR), claim("b", SURE), *(claim(f"c{i}", OPEN) for i in range(4)))
    assert "by itself, not for all 6 claims" in answer_of(claims, ["a"]).doubt
    assert "stays decided for all 6 claims together" in answer_of(claims, ["b"]).doubt
    assert answer_of(claims[:1], ["a"]).doubt == ""  # one claim alone
    both = answer_of(claims, ["b", "a"])
    assert both.said == ("b is large: holds, 9 [8.9 to 9.1] (size).",
                         "a is large: holds, 2 [1.05 to 2.95] (size).")  # fmt: skip


def test_parts_of_a_claim_are_one_sentence_and_many_are_counted() -> None:
    parts = [claim(f"a-{p}", e, "It grows.", part=p) for p, e in (("x", SURE), ("y", OPEN))]
    answer = answer_of(parts, ["a-*"])
    assert answer.said == (
        "It grows: holds for x, 9 [8.9 to 9.1]; undetermined for y, 2 [0.5 to 3.5] (size).",
    )
    parts += [claim(f"a-{p}", SURE, "It grows.", part=p) for p in "zw"]
    counted = answer_of(parts, ["a-*"]).said[0]
    assert "holds for x, 9 [8.9 to 9.1], and for 2 more; undetermined for y, 2 [0.5" in counted


def test_what_was_not_run_is_said_where_nothing_else_is_there() -> None:
    claims = (claim("a", None), claim("b", SURE))
    assert answer_of(claims, ["a"]).whole == "a is large: not run."
    assert [c.ident for c in main_claims(claims, ["a", "b"])] == ["b"]
    assert answer_of((), ["a"]).whole == ""


def test_a_part_can_be_meant_alone() -> None:
    claims = (claim("a", SURE, part="full space"), claim("a", OPEN, part="projected"))
    assert main_claims(claims, ["a/full*"]) == [claims[0]]
