"""The claims that a study names as its answer exist, in its published tables or planted ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_butterfly_kept import kept
from test_danovski_verdicts import course, made

from wingbeat.studies.break_even.claims import WITH_BATCH
from wingbeat.studies.danovski.claims import claims as danovski_claims
from wingbeat.studies.phases.claims import NUMBERS
from wingbeat.study.analysis import Analysis
from wingbeat.study.answer import answer_of, main_claims
from wingbeat.study.named import STUDIES
from wingbeat.study.verdicts import Claim

DOCS = Path(__file__).resolve().parents[2] / "docs" / "studies"
BY_FILE = (
    "chaos-at-edge", "width-depth-size", "three-families", "irrelevant-dimensions",
    "stable-at-start", "which-checkpoint", "useful-perturbations", "topology",
)  # fmt: skip


def read(name: str) -> list[Claim]:
    """Return the published claims of a study."""
    folder = DOCS / name.replace("-", "_")
    if name in BY_FILE:
        rows = pd.read_csv(folder / "claims.csv", keep_default_na=False).to_dict("records")
        facts: list[dict[str, Any]] = [{**row, "text": row["claim"]} for row in rows]
    else:
        place = folder / "digits" if name == "two-phase" else folder
        facts = json.loads((place / "summary.json").read_text(encoding="utf-8"))["claims"]
    return [
        Claim(c["ident"], c["text"], "", c["measured"], c["verdict"], part=c["part"]) for c in facts
    ]


def planted(name: str) -> tuple[Claim, ...]:
    """Return the claims of a study on tables that are made up."""
    study = STUDIES.find(name)
    ends = {"low": 0.5, "high": 0.9, "reason": ""}
    tables: dict[str, Any] = {
        "edge": ("verdicts", [{"rule": "gradient descent", "lr": 0.2, "runs": 3, "edge": 3,
                               "hover": 1.0, "hover_low": 0.9, "hover_high": 1.1}]),
        "phase-diagram": ("slopes", [{"gamma": g, "gamma_prime": 0.0, "theory": "condensed",
                                      "slope": 0.7, **ends} for g in (1.5, 1.6, 1.7, 1.8)]),
        "break-even": ("conjectures", [{"measured": a, "outcome": b, "value": 0.7, "n": 6,
                                        "expected": 1, "ruling": "holds", **ends}
                                       for a in ("lr", "batch_size") for b in WITH_BATCH]),
        "phases": ("marks", [{"name": n, "found": 0.3, "found_low": 0.2, "found_high": 0.4,
                              "found_reason": ""} for n in NUMBERS]),
    }  # fmt: skip
    place, rows = tables[name]
    return study.claims(Analysis(study.plan(), None, {place: pd.DataFrame(rows)}))


def claims_of(name: str) -> tuple[Claim, ...]:
    if name == "butterfly":
        from wingbeat.studies.butterfly.claims import claims

        return claims(kept("values.csv", "value"))
    if name == "latent-states":
        study = STUDIES.find(name)
        tables = {p.stem: pd.read_csv(p) for p in (DOCS / "latent_states").glob("*.csv")}
        return study.claims(Analysis(study.plan(), None, tables))
    if name == "danovski":
        return danovski_claims(made(course((0.2, 0.19, 0.21), 0.1)))
    if name in (*BY_FILE, "dynamics", "two-phase"):
        return tuple(read(name))
    return planted(name)


@pytest.mark.parametrize("name", [n for n, s in STUDIES.all().items() if s.answers])
def test_the_answer_says_verdict_and_interval_of_the_main_claim(name: str) -> None:
    claims, patterns = claims_of(name), STUDIES.find(name).answers
    if name == "butterfly":
        patterns = patterns[:1]  # the second is that of fine-tuning
    assert all(main_claims(claims, [pattern]) for pattern in patterns)
    answer = answer_of(claims, patterns)
    assert len(answer.said) >= 1
    for sentence in answer.said:
        assert len(sentence) < 400, sentence
    first = main_claims(claims, patterns)[0]
    assert f": {first.verdict}" in answer.said[0]
    number = re.search(r"[^ ]+ \[[^\]]+\]|[\d.]+ to [\d.]+|[^ ]+$", first.measured)
    assert number is not None
    assert number.group() in answer.said[0]
    words = {str(c.verdict) for c in main_claims(claims, patterns)}
    told = set(re.findall(r"(?:: |; )(holds|fails|undetermined|not run)\b", answer.whole))
    assert told == words, answer.whole


def test_nothing_is_promised_of_claims_that_were_not_made() -> None:
    """An open claim stays open in the headline, whatever its number leans to."""
    seeds = np.array([0.2, 0.9, 0.95])
    from wingbeat.studies.seedwise import seed_claim

    claim = seed_claim("a", "Most are.", seeds, 0.5, above=True, within=(0.0, 1.0))
    answer = answer_of([claim], ["a"])
    assert claim.verdict == "undetermined"
    assert answer.said == (f"Most are: undetermined, {claim.measured}.",)
    assert answer.doubt == f"{claim.needed} base seeds would decide it, if mean and scatter stay."
