"""Study files that name a study: the plan of its command, a quick version, mistakes by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from wingbeat.errors import RequestError
from wingbeat.studies.butterfly.plan import ButterflyPlan
from wingbeat.studies.dynamics.plan import DynamicsPlan
from wingbeat.studies.phase_diagram.plan import DiagramPlan
from wingbeat.study.named_file import names_a_study, read_named
from wingbeat.study.study import Study

FILE = """
study = "phase-diagram"
[options]
gamma = [0.5, 1.75]
width = [16, 64]
seeds = 4
device = "cpu"
[quick]
gamma = 1.75
gamma-prime = 0
width = [8, 16]
seeds = []
time = 1
"""


def written(folder: Path, text: str, name: str = "own.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_the_command_with_the_same_options(tmp_path: Path) -> None:
    found = read_named(written(tmp_path, FILE))
    assert found.plan == DiagramPlan((0.5, 1.75), widths=(16, 64), seeds=4)
    told = "wingbeat study phase-diagram --gamma 0.5 --gamma 1.75 --width 16 --width 64 --seeds 4"
    assert found.command == told
    assert (found.folder, found.device, found.compiled) == (Path("runs/own"), "cpu", False)


def test_the_quick_version_replaces_options_and_takes_back_others(tmp_path: Path) -> None:
    found = read_named(written(tmp_path, FILE), quick=True)
    assert found.plan == DiagramPlan((1.75,), (0.0,), (8, 16), DiagramPlan().seeds, 1.0)
    assert found.folder == Path("runs/own-quick")
    with pytest.raises(RequestError, match=r"has no part \[quick\]"):
        read_named(written(tmp_path, 'study = "phase-diagram"'), quick=True)


YAML = "study: butterfly\noptions: {task: mnist-mlp, times: [0, 0.5], kinds: 'ulp:1', exclude: ''}"


def test_values_are_read_as_the_command_line_reads_them(tmp_path: Path) -> None:
    """Lists with commas, tables, texts that may be empty; who sets one of a group sets it all."""
    found = read_named(written(tmp_path, YAML, "own.yaml")).plan
    assert found == ButterflyPlan("mnist-mlp", times=(0.0, 0.5), kinds=found.kinds, exclude="")
    assert [(k.name, k.sizes) for k in found.kinds] == [("ulp", (1.0,))]
    text = 'study = "butterfly"\n[options]\ntask = "mnist-mlp"\narg = { hidden = [8], lr = 1e-3 }'
    assert read_named(written(tmp_path, text)).plan.arguments == {"hidden": [8], "lr": 1e-3}
    text = 'study = "edge"\n[options]\npolyak-lr = 0.3'
    edge = read_named(written(tmp_path, text)).plan
    assert (edge.rates, edge.polyak_rates, edge.nesterov_rates) == ((), (0.3,), ())
    text = 'study = "dynamics"\n[options]\nquick = true\ncompiled = true'
    quick = read_named(written(tmp_path, text))
    assert (quick.plan, quick.compiled) == (DynamicsPlan(quick=True), True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('study = "phase-diagramm"', "did you mean 'phase-diagram'"),
        ('study = "phase-diagram"\n[option]', "there is no 'option': did you mean 'options'"),
        ('study = "phase-diagram"\n[options]\ngama = 1', "no option 'gama': did you mean 'gamma'"),
        ('study = "phase-diagram"\n[options]\nseeds = "three"', "seeds is 'three': it should be"),
        ('study = "phase-diagram"\n[options]\nseeds = 2.5', "seeds is 2.5: it should be"),
        ('study = "phase-diagram"\n[options]\ngamma = []', "gamma is empty"),
        ('study = "phase-diagram"\n[options]\nwidth = 16', "give two or more"),
        ('study = "phase-diagram"\n[options]\ndevice = 1', "device is 1: it should be"),
        ('study = "phases"\n[options]\nepochs = 0', "epochs"),
        ('study = "butterfly"\n[options]\ntimes = [true]', "times is True: give text or numbers"),
        ("study = 3", "study: "),
    ],
)
def test_mistakes_are_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=re.escape(said)):
        read_named(written(tmp_path, text))


def test_the_two_kinds_of_files_are_told_apart(tmp_path: Path) -> None:
    named = written(tmp_path, FILE)
    grid = written(tmp_path, '[base]\nfactory = "m:f"', "grid.toml")
    assert (names_a_study(named), names_a_study(grid)) == (True, False)
    with pytest.raises(RequestError, match=r"names the study 'phase-diagram': `wingbeat study"):
        Study.from_file(named)


def test_the_command_runs_a_file_as_it_runs_the_study(
    study_command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = study_command
    monkeypatch.chdir(tmp_path)
    written(tmp_path, FILE)
    written(tmp_path, '[base]\nfactory = "m:f"', "grid.toml")
    code, out, _ = call("own.toml", "--quick", "--dry-run", "--probes", "0", "--json")
    assert (code, json.loads(out)["left"]) == (0, 6)
    assert not (tmp_path / "runs").exists()
    code, out, _ = call("own.toml", "--quick", "--runner", "inline", "--json")
    found = json.loads(out)
    assert (code, found["counts"]) == (0, {"done": 6})
    assert [claim["ident"] for claim in found["claims"]] == ["regime-1.75-0"]
    page = (tmp_path / "runs" / "own-quick" / "report.html").read_text(encoding="utf-8")
    assert "wingbeat study phase-diagram --gamma 1.75 --gamma-prime 0 --width 8" in page
    code, out, _ = call("own.toml", "--quick", "--runner", "inline")
    assert "6 conditions, 6 of them done already" in out
    for words, said in (
        (("own.toml", "--tries", "2"), "takes no --tries and no --store"),
        (("grid.toml", "--quick"), "names no study"),
    ):
        code, _, err = call(*words)
        assert (code, said in err.replace("\n", " ")) == (2, True)
