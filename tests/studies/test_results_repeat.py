"""Every page of results has a study file that repeats it, and holds nothing that no table says.

A file's small version is run here, or by the tests of its study; what a whole run prints has the
columns of the published tables, and each number with an interval on a page stands in those.
"""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from published import DOCS, FILES, file_of, intervals_of, page_of, small_run, unfounded

from wingbeat.cli.main import main
from wingbeat.study.named import NamedStudy

NAMES = sorted(path.stem for path in FILES.glob("*.toml"))
PAGES = sorted({page_of(name) for name in NAMES})
KEPT = {
    "butterfly_exact": DOCS / "butterfly" / "exact",
    "butterfly_adamw_batch": DOCS / "butterfly" / "exact",
    "butterfly_sizes": DOCS / "butterfly" / "exact",
    "width_depth_size_float64": DOCS / "width_depth_size" / "float64",
    "topology_small_transformers": DOCS / "topology" / "small",
    "trained_cnn_large": DOCS / "topology" / "trained",
    "trained_dense": DOCS / "topology" / "trained",
    "trained_medium": DOCS / "topology" / "trained",
    "trained_on_gpu": DOCS / "topology" / "trained",
    "two_phase_photographs": DOCS / "two_phase" / "photographs_at_rest",
    "irrelevant_dimensions_trained": DOCS / "irrelevant_dimensions" / "trained",
}
"""Where the tables of a file lie that are not in the folder of its page's name."""
SLOWER = (
    "butterfly", "butterfly_adamw_batch", "butterfly_beginning", "butterfly_exact",
    "butterfly_sizes", "chaos_at_edge_cnn", "danovski", "edge_nesterov", "finetuning",
    "irrelevant_dimensions_trained", "topology_small_transformers", "trained_cnn_large",
    "trained_dense", "trained_medium", "trained_on_gpu", "two_phase_photographs",
    "width_depth_size_float64",
)  # fmt: skip
LONG = ("latent_states",)
"""It takes 25 base seeds, of which groups are made."""


@pytest.mark.parametrize(
    "name",
    [*(pytest.param(n, marks=pytest.mark.slow) for n in SLOWER),
     *(pytest.param(n, marks=pytest.mark.long) for n in LONG)],
)  # fmt: skip
def test_a_small_run_prints_what_is_published(name: str, tmp_path: Path) -> None:
    found = small_run(name, tmp_path, KEPT.get(name))
    assert found.tables
    assert found.page.is_file()


def test_every_study_file_is_run_small_by_some_test() -> None:
    tests = "".join(p.read_text(encoding="utf-8") for p in Path(__file__).parent.glob("test_*.py"))
    run = set(re.findall(r'small_run\("([a-z0-9_]+)"', tests)) | {*SLOWER, *LONG}
    assert set(NAMES) == run


def test_every_page_of_results_has_a_study_file() -> None:
    assert set(DOCS.glob("*.md")) == set(PAGES)
    for name in NAMES:
        text = page_of(name).read_text(encoding="utf-8")
        assert "wingbeat study examples/studies/" in text
        assert f"{name}.toml" in text, name


def commands_of(page: Path) -> list[list[str]]:
    """Return the words of every command of a named study that a page shows."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^(?:nice -n 5 )?(wingbeat study .*)$|`(wingbeat study [^`]+)`", text, re.M)
    words = [shlex.split(line or inline, comments=True)[2:] for line, inline in found]
    return [own for own in words if not own[0].endswith(".toml")]


@pytest.fixture(scope="module")
def shown() -> dict[Path, list[tuple[str, Any, str, bool]]]:
    """Return what the commands of each page ask for: study, plan, device, compiled."""
    found: dict[Path, list[tuple[str, Any, str, bool]]] = {}
    with pytest.MonkeyPatch.context() as patch:
        for page in PAGES:
            seen: list[tuple[str, Any, str, bool]] = []

            def run(study: NamedStudy, plan: Any, *_: Any, into: Any = seen, **how: Any) -> Any:
                into.append((study.name, plan, how["device"], how["compiled"]))
                return SimpleNamespace(study=SimpleNamespace(failures=()))

            patch.setattr(NamedStudy, "run", run)
            for words in commands_of(page):
                if not {"…", "my_module:my_task", "MODULE:FACTORY"} & set(words):
                    patch.setattr("sys.argv", ["wingbeat", "study", *words])
                    with suppress(SystemExit):
                        main()
                    assert len(seen) == len(found.setdefault(page, [])) + 1, words
                    found[page] = list(seen)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_study_file_asks_for_what_a_command_of_its_page_does(name: str, shown: Any) -> None:
    asked = file_of(name)
    own = (asked.study.name, asked.plan, asked.device, asked.compiled)
    assert own in shown[page_of(name)], asked.command


FOUNDED = [p for p in PAGES if p.with_suffix("").is_dir() and p.stem != "butterfly"]
"""Of butterfly every replica's values are kept, and test_butterfly_kept holds its page to them."""


@pytest.mark.parametrize("page", [*FOUNDED, DOCS / "dynamics" / "README.md"], ids=lambda p: p.stem)
def test_no_number_on_a_page_is_without_its_table(page: Path) -> None:
    folder = page.with_suffix("") if page.stem != "README" else page.parent
    text = page.read_text(encoding="utf-8")
    assert unfounded(text, intervals_of(folder)) == []


def test_a_number_that_no_table_holds_is_noticed() -> None:
    there = np.array([[0.8, 0.6384, 0.9618]])
    assert unfounded("doublings of η between: 0.8 [0.638 to 0.962]", there) == []
    assert unfounded("doublings of η between: 0.8 [0.638 to 0.972]", there) != []
    assert unfounded("0.9 [0.638 to 0.962], and 250,000 [−1, 2e9]", there) == [
        "0.9 [0.638 to 0.962]", "250,000 [−1, 2e9]",
    ]  # fmt: skip
