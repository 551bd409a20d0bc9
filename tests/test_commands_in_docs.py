"""Commands and study files in the documentation are ones that wingbeat takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from wingbeat.cli.main import command
from wingbeat.study.study import Study

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "docs" / "how_to").glob("*.md"))
FENCE = re.compile(r"^```(?:console|bash|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands() -> list[Any]:
    found = []
    for page in PAGES:
        for block in FENCE.findall(page.read_text(encoding="utf-8")):
            joined = block.replace("\\\n", " ")
            found += [
                pytest.param(line[2:], id=f"{page.stem}: {line[2:62]}")
                for line in joined.splitlines()
                if re.match(r"\$ wingbeat [a-z]", line)
            ]
    return found


@pytest.mark.parametrize("line", commands())
def test_every_command_has_the_options_it_is_shown_with(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    found = command(words.pop(0))
    if hasattr(found, "get_command"):
        context = found.make_context("study", [], resilient_parsing=True)
        found = found.get_command(context, words.pop(0))
    known = {o for p in found.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    own = words[: words.index("--")] if "--" in words else words
    asked = {word.partition("=")[0] for word in own if re.match(r"--?[a-z]", word)}
    assert asked <= known, f"{line}: {sorted(asked - known)}"


def study_files() -> list[Any]:
    """Blocks of TOML that have axes, which no other file of the documentation has."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        found += [pytest.param(b, id=page.stem) for b in blocks if "[axes]" in b]
    return found


@pytest.mark.parametrize("text", study_files())
def test_every_study_file_is_one(text: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.toml"
    path.write_text(text, encoding="utf-8")
    assert len(Study.from_file(path).conditions) > 1
