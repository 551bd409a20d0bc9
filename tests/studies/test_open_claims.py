"""Every published claim that is open says on its page what would decide it, or why not."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs" / "studies"
KEPT = [
    path
    for path in sorted(DOCS.rglob("claims.csv"))
    if path.relative_to(DOCS).parts[0] != "butterfly"  # its page is held to its values
]
WHY_NOT = {
    "uncorrelated": "no number of base seeds can be named",
    "divergent-expand": "Two nets say nothing of nets like them",
    "divergent-shape": "Two nets say nothing of nets like them",
    "scale": "Two nets say nothing of nets like them",
}
"""What a page says of a claim for which nothing can be forecast."""


@pytest.mark.parametrize("path", KEPT, ids=lambda path: str(path.parent.relative_to(DOCS)))
def test_an_open_claim_says_what_would_decide_it(path: Path) -> None:
    page = DOCS / f"{path.relative_to(DOCS).parts[0]}.md"
    text = " ".join(page.read_text(encoding="utf-8").split())
    claims = pd.read_csv(path, keep_default_na=False)
    for row in claims[claims["verdict"] == "undetermined"].to_dict("records"):
        count = re.search(r"(?:more than )?([\d,]+) [a-z ]+ decide it", row["note"])
        if count is not None:
            assert re.search(rf"\b{count.group(1)}\b", text), row
        elif "undefined: there are too few base seeds" not in row["measured"]:
            assert WHY_NOT[row["ident"]] in text, row


def test_the_pages_are_there() -> None:
    assert len(KEPT) >= 15
