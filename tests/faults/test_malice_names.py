"""Names made to do harm, in tensors and paths: text in the page, the CSV and the picture."""

from __future__ import annotations

import csv
from html.parser import HTMLParser

import torch
from checkpoints.ck_files import written
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.checkpoints import compare
from wingbeat.checkpoints.csv_safe import harmless
from wingbeat.checkpoints.pattern import find_files
from wingbeat.execution.external import measure_checkpoints

NASTY = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    '=HYPERLINK("http://x")',
    "@SUM(1)",
    "+1",
    "-2+3",
    "\t=1",
    "{{ 7 * 7 }}",
    "$x_{",
    "%s\r\n=1",
)


def nasty_runs(folder):
    """Three runs whose tensors and names come from someone who means harm."""
    for k, run in enumerate(("<b>", "=a", "@c")):
        for step in (0, 4):
            tensors = {n: torch.full((2,), i + step * k / 7) for i, n in enumerate(NASTY)}
            written(folder / f"{run}_{step}.safetensors", tensors)
    return f"{folder}/*_*.safetensors"


class Tags(HTMLParser):
    """Collects elements with their attributes, and the text outside scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.scripts = [], [], 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def test_names_from_a_checkpoint_stay_text_in_the_report(tmp_path):
    result = measure_checkpoints(nasty_runs(tmp_path), ["l2", "relative_l2", "cosine", "spread"])
    assert set(NASTY) <= set(result.table.layer)
    page = result.report(tmp_path / "r.html").read_text(encoding="utf-8")
    plain_folder = tmp_path / "plain"
    plain_folder.mkdir()
    for k, run in enumerate("abc"):
        for step in (0, 4):
            tensors = {f"n{i}": torch.full((2,), i + step * k / 7) for i in range(len(NASTY))}
            written(plain_folder / f"{run}_{step}.safetensors", tensors)
    plain = measure_checkpoints(
        f"{plain_folder}/*_*.safetensors", ["l2", "relative_l2", "cosine", "spread"]
    )
    other = plain.report(tmp_path / "p.html").read_text(encoding="utf-8")
    assert Tags(page).tags == Tags(other).tags, "no element came in through a name"
    assert not [a for a, _ in Tags(page).attributes if a.startswith("on")]
    assert "<script>alert" not in page
    policy = next(v for a, v in Tags(page).attributes if v and "default-src" in v)
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert "<img" not in result._repr_html_()


def test_no_cell_of_a_csv_is_a_formula(tmp_path):
    found = compare([p for _, p in sorted(find_files(nasty_runs(tmp_path)).paths.items())][:3])
    path = found.to_csv(tmp_path / "t.csv")
    numbers = {"step", "value"}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {r["layer"].removeprefix("'") for r in rows} >= set(NASTY)
    for row in rows:
        for column, cell in row.items():
            assert column in numbers or not cell.lstrip().startswith(("=", "+", "-", "@"))


@given(st.text())
def test_any_text_is_harmless_and_not_lost(text):
    safe = str(harmless(text))
    assert safe[:1] not in {"=", "+", "-", "@", "\t", "\r", "\n"}
    assert safe in (text, f"'{text}")


def test_names_from_a_checkpoint_stay_text_in_pictures(tmp_path):
    paths = [p for _, p in sorted(find_files(nasty_runs(tmp_path)).paths.items())]
    found = compare(paths[:3])
    found.plot(tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text(encoding="utf-8")
    assert "<script" not in text
    assert len(text) > 1000
