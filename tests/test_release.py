"""What names a version or promises something to strangers says the same everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import wingbeat

ROOT = Path(__file__).parents[1]


def test_every_place_names_one_version() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert newest is not None
    assert {declared["version"], citation["version"], newest[1]} == {wingbeat.__version__}
    assert citation["license"] == declared["license"]


def test_a_citation_has_what_the_format_asks_for() -> None:
    """Citation File Format 1.2.0: these four keys, and an author with a name."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert citation["title"]
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])


def test_the_readme_names_every_extra() -> None:
    """But those for whoever works on wingbeat itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"bench", "dev", "docs", "tools"}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert extras <= set(re.findall(r"wingbeat\[([a-z-]+)\]", text))


def test_forms_for_issues_are_whole() -> None:
    for form in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")):
        told = yaml.safe_load(form.read_text(encoding="utf-8"))
        if form.name != "config.yml":
            assert told["name"]
            assert told["description"]
            ids = [part["id"] for part in told["body"]]
            assert len(ids) == len(set(ids))


def test_hooks_run_what_the_makefile_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]
    assert [e.split()[0] for e in entries] == [".venv/bin/ruff", ".venv/bin/ruff", ".venv/bin/mypy"]
