"""The demonstration: what it writes, what it says, and that it trains nothing twice."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from wingbeat.errors import CONSTANT, WingbeatError
from wingbeat.studies.demo import account, demo
from wingbeat.studies.dynamics.cost import usual_seconds
from wingbeat.studies.dynamics.plan import DynamicsPlan, conditions
from wingbeat.study.ledger import Record
from wingbeat.study.runner import InlineRunner


def scalar(value: object, low: float = math.nan, high: float = math.nan, reason: str = "") -> dict:
    return {"value": value, "low": low, "high": high, "reason": reason}


def test_the_account_gives_verdict_and_intervals() -> None:
    result = SimpleNamespace(
        condition={"task": {"name": "a net"}},
        noise_floor=0.0,
        perturbations=[{"name": "gaussian-0.01@0"}, {"name": "quiet"}],
        summary={
            "gaussian-0.01@0/convergence_ratio": scalar(43.21, 31.0, 60.0),
            "gaussian-0.01@0/lyapunov": scalar(0.0125, 0.0111, 0.0139),
            "gaussian-0.01@0/behavior": scalar("divergent"),
            "quiet/convergence_ratio": scalar(math.nan, reason=CONSTANT),
            "quiet/lyapunov": scalar(math.nan, reason=CONSTANT),
            "quiet/behavior": scalar("undetermined"),
        },
    )
    text = " ".join(" ".join(account(result)).split())
    assert "noise floor: exactly 0" in text
    assert "gaussian-0.01@0: divergent" in text
    assert "43.2 (95 % interval 31 to 60)" in text
    assert "per step: 0.0125 (95 % interval 0.0111 to 0.0139)" in text
    assert "quiet: undetermined" in text
    assert "undefined, because the quantity it is divided by is exactly zero" in text
    assert "nan" not in text


def trained(folder: Path) -> dict[str, bytes]:
    # locks may come and go, and the page of a study is written again from what is found
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".lock"))
    kept = (p for p in files if p.parent.name != "dynamics-quick" or p.suffix == ".parquet")
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept}


SMALL = DynamicsPlan(
    names=("3-layer Tiny", "CNN Tiny", "GPT tiny"), quick=True, seeds=1, replicas=2
)


@pytest.mark.slow
def test_demo_trains_everything_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WINGBEAT_DATA", raising=False)
    monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WINGBEAT_OFFLINE", "1")
    lines: list[str] = []
    folder = demo(tmp_path / "out", lines.append, plan=SMALL, runner=InlineRunner())
    text = "\n".join(lines)
    pages = [folder / n / "report.html" for n in ("circles-dense", "digits-cnn", "dynamics-quick")]
    assert [line.strip() for line in lines[-3:]] == [str(page) for page in pages]
    for page in pages:
        assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
        assert (page.parent / "summary.json").exists()
    # Adam at 1e-2 amplifies a 1 % nudge of the start in both nets: reference, sections 3 and 7
    assert text.count("gaussian-0.01@0: divergent") == 2
    assert text.count("noise floor: exactly 0") == 2
    assert "stand-in" in text

    before, again = trained(folder), []
    demo(folder, again.append, plan=SMALL, runner=InlineRunner())
    assert trained(folder) == before
    assert "3 of them done already" in "\n".join(again)
    assert again[-3:] == lines[-3:]


def test_the_demo_runs_the_quick_study_of_all_families() -> None:
    plan = DynamicsPlan(quick=True)
    assert {a.family for a in plan.architectures} == {"dense", "cnn", "transformer"}
    # four minutes on two processors of the machine of the published tables, with room to spare
    assert sum(usual_seconds(condition) for condition in conditions(plan)) / 2 < 150


@pytest.mark.long
def test_a_failed_condition_fails_the_demo(tmp_path: Path) -> None:
    class Broken:
        def map(self, work, conditions):
            return (Record(c.key, "failed", "no memory") for c in conditions)

    with pytest.raises(WingbeatError, match="3 condition"):
        demo(tmp_path, lambda _: None, plan=SMALL, runner=Broken())
