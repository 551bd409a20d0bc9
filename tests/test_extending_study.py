"""The named study of docs/extending.md, as a package of somebody else's that is installed."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from wingbeat.cli.named_study import command_for
from wingbeat.study import named
from wingbeat.study.named import STUDIES
from wingbeat.study.runner.inline import InlineRunner

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
SOURCE = re.search(
    r"^```python\n# file: mine/(rates)\.py\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
)
POINT = re.search(r'\."wingbeat\.studies"\]\n(rates) = "mine\.(rates:STUDY)"', PAGE)


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write the file of the page as a distribution with its entry point."""
    assert SOURCE
    assert POINT
    folder = tmp_path / "site"
    info = folder / "theirs-1.dist-info"
    info.mkdir(parents=True)
    (folder / "theirs_rates.py").write_text(SOURCE[2], encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    place = f"theirs_{POINT[2]}"
    (info / "entry_points.txt").write_text(f"[wingbeat.studies]\n{POINT[1]} = {place}\n")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    monkeypatch.setattr(STUDIES, "_things", STUDIES.registered())
    monkeypatch.setattr(STUDIES, "_announced", None)
    monkeypatch.setattr(named, "ProcessRunner", lambda workers: InlineRunner())
    yield
    sys.modules.pop("theirs_rates", None)


def test_a_study_from_outside_is_a_command(tmp_path: Path) -> None:
    assert "theirs_rates" not in sys.modules, "nothing is loaded before it is asked for"
    assert "rates" in STUDIES.names()
    app = typer.Typer()
    app.command()(command_for(STUDIES.find("rates")))
    words = ["--lr", "0.05", "--lr", "0.2", "--seeds", "3", "--out", str(tmp_path / "out")]
    ended = CliRunner().invoke(app, [*words, "--json"])
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    assert found["counts"] == {"done": 6}
    table = pd.read_csv(tmp_path / "out" / "ratios.csv")
    assert table["lr"].tolist() == [0.05, 0.2]
    shares = pd.DataFrame(found["conditions"]).groupby("lr")["convergence_ratio"].mean()
    assert table["ratio"].tolist() == pytest.approx(shares.tolist())
    ends = zip(table["ratio_low"], table["ratio_high"], strict=True)
    judged = ["holds" if a > 1 else "fails" if b < 1 else "undetermined" for a, b in ends]
    assert [c["verdict"] for c in found["claims"]] == judged
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for text in ("Nudged copies part at a learning rate of 0.2.", "Do copies part?", "Ratios",
                 "wingbeat study rates --lr 0.05 --lr 0.2"):  # fmt: skip
        assert text in page
    for name in ("results.md", "results.tex", "summary.json"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    again = CliRunner().invoke(app, words)
    assert "6 conditions, 6 of them done already" in again.stdout
