"""The pages of the repository point at things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wingbeat import errors
from wingbeat.errors import REASON_TEXT
from wingbeat.measure.metric import in_order

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if "_build" not in page.parts and "jupyter_execute" not in page.parts
)
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)")
OUTSIDE = ("http://", "https://", "mailto:")


def slug(heading: str) -> str:
    """Return the anchor that a Markdown heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def links(page: Path) -> list[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [link for link in LINK.findall(text) if not link.startswith(OUTSIDE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_dead_relative_link(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_named_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    # in code only, so that prose such as "make it" is not taken for a command
    code = "\n".join((*re.findall(r"`[^`\n]+`", text), *(m[0] for m in FENCE.finditer(text))))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_merge_was_left_half_done(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.startswith(("<<<<<<< ", ">>>>>>> "))]


def test_the_readme_says_how_to_start() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text


def test_the_navigation_reaches_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.stem == "index" or re.search(rf"^{page.stem}$", index, re.MULTILINE)


def test_every_reason_is_explained() -> None:
    named = {v for k, v in vars(errors).items() if k.isupper() and isinstance(v, str)}
    assert named == set(REASON_TEXT)
    rows = re.findall(r"^\| `([a-z_]+)` \| \S", definitions().partition("## Reasons")[2], re.M)
    assert sorted(rows) == sorted(REASON_TEXT)


def definitions() -> str:
    return (ROOT / "docs" / "definitions.md").read_text(encoding="utf-8")


def test_the_table_of_questions_has_every_metric_and_what_a_run_measures_anyway() -> None:
    page = (ROOT / "docs" / "which_metric.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\|[^|]*\|([^|]*)\|", page, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    bold = {name for cell in cells for name in re.findall(r"\*\*`(\w+)`\*\*", cell)}
    ours = [m for m in in_order() if m.function.__module__.startswith("wingbeat.")]
    assert {m.name for m in ours} <= named
    assert {m.name for m in ours if m.default} == bold
