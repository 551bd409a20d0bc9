"""Scripts as strangers write them: each is forked as it is, or refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from typer.testing import CliRunner

import wingbeat as wb
from wingbeat.cli.main import app
from wingbeat.report.what_was_trained import subject
from wingbeat.scripts import fork
from wingbeat.scripts.collect import first_step

FORMS = Path(__file__).parent / "forms"
sys.path.insert(0, str(FORMS))
import tiny  # noqa: E402

sys.path.remove(str(FORMS))
PYTHON = (sys.executable, str(FORMS / "outside.py"))


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint in a folder in which the command is given."""
    monkeypatch.chdir(tmp_path)
    tiny.write(tmp_path / "start.safetensors", tiny.start())
    return tmp_path / "start.safetensors"


def forked(checkpoint: Path, *words: str, **more: Any) -> wb.Result:
    options: dict[str, Any] = {"replicas": 2, "jobs": 2, **more}
    return fork(checkpoint, wb.Gaussian(0.01), (*PYTHON, *words), "forks", **options)


def ends(result: wb.Result) -> dict[str, float]:
    table = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
    last = table[table.step == table.step.max()]
    return dict(zip(last.b, last.value, strict=True))


def by_hand(checkpoint: Path, result: wb.Result, steps: int) -> None:
    """Each copy ends where the same training ends that starts at its nudged checkpoint."""
    found = ends(result)
    *_, (_, reference) = tiny.train(tiny.read(checkpoint), steps)
    for label in result.labels[1:]:
        start = load_file(f"forks/starts/{label}/{checkpoint.name}")["w"]
        *_, (_, last) = tiny.train(start, steps)
        expected = np.linalg.norm(last.astype(np.float64) - reference.astype(np.float64))
        assert found[label] == pytest.approx(expected, rel=1e-12, abs=0.0), label
    assert found["null"] == 0.0
    assert result.noise_floor == 0.0


WORDS = {
    "subcommands": ("--verbose", "fit", "--trainer.ckpt={checkpoint}", "-o", "{out}"),
    "key_value": ("model.init={checkpoint}", "hydra.run.dir={out}"),
    "relative": ("{checkpoint}", "{out}"),
}


@pytest.mark.parametrize("form", WORDS)
def test_manners_of_arguments(form: str, checkpoint: Path) -> None:
    Path("config.txt").write_text("6")
    pattern = "ckpts/step={step}.safetensors" if form == "key_value" else None
    result = forked(checkpoint, form, *WORDS[form], pattern=pattern)
    assert result.steps == (0, 3, 6)
    by_hand(checkpoint, result, 6)


def test_a_script_whose_options_are_called_like_ours(checkpoint: Path) -> None:
    words = [*PYTHON, "subcommands", "fit", "--perturb", "gaussian:9", "--trainer.ckpt"]
    asked = ["fork", str(checkpoint), "--perturb", "gaussian:0.01", "--out", "forks"]
    asked += ["--replicas", "1", "--json", "--", *words, "{checkpoint}", "-o", "{out}"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    by_hand(checkpoint, wb.load("forks"), 6)


def test_only_at_the_end(checkpoint: Path) -> None:
    result = forked(checkpoint, "only_at_the_end", "{checkpoint}", "{out}")
    assert result.steps == (0, 1)
    assert any("model.safetensors, whose name tells no step" in w for w in result.warnings)
    assert result.environment["driver"] == "script"
    assert subject(result).name == "outside.py, forked from start.safetensors"
    assert result.condition["fork"]["command"].endswith("only_at_the_end {checkpoint} {out}")
    by_hand(checkpoint, result, 6)


def test_a_single_best_is_said_to_be_one(checkpoint: Path) -> None:
    words = ("named", "best_model.safetensors", "{checkpoint}", "{out}")
    result = forked(checkpoint, *words, replicas=1)
    assert any("perhaps of another step in each: let the script" in w for w in result.warnings)


def test_two_at_the_end_are_not_guessed(checkpoint: Path) -> None:
    words = ("best_and_last", "{checkpoint}", "{out}")
    with pytest.raises(wb.RunError, match=r"--pattern 'last\.safetensors'"):
        forked(checkpoint, *words)
    by_hand(checkpoint, forked(checkpoint, *words, pattern="last.safetensors"), 6)


@pytest.mark.slow
def test_what_the_script_deletes_again_is_kept(checkpoint: Path) -> None:
    result = forked(checkpoint, "total_limit", "{checkpoint}", "{out}")
    assert result.steps == (0, 1, 2, 3, 4, 5, 6)
    by_hand(checkpoint, result, 6)
    left = [p.name for p in Path("forks/runs/reference").iterdir()]
    assert left == ["checkpoint-6"], "the script's own folder is its own"
    kept = {p.name for p in Path("forks/runs/.kept/reference").rglob("*.safetensors")}
    assert kept == {"model.safetensors"}, "no optimizer's state is kept"


@pytest.mark.slow
def test_the_best_is_another_one_for_each_copy(checkpoint: Path) -> None:
    result = forked(checkpoint, "best_of_its_own", "{checkpoint}", "{out}")
    assert result.steps == (0, 1, 2, 3, 4, 5, 6)
    by_hand(checkpoint, result, 6)


@pytest.mark.parametrize(
    ("content", "step"),
    [
        ({"global_step": 16, "state_dict": {}}, 16),
        ({"step": 16}, 16),
        ({"step": torch.tensor(16)}, 0),
        ({"made": Path("of code")}, 0),
        ([1, 2], 0),
    ],
)
def test_the_step_of_a_checkpoint_whose_name_tells_none(
    content: Any, step: int, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "last.ckpt")
    assert first_step(tmp_path / "last.ckpt", [20, 30]) == step
    assert first_step(tmp_path / "last.ckpt", [10, 20]) == 0, "the script counts from its start"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("epoch_{}/model.safetensors", "names are epochs: rates by step are by epoch"),
        ("model_{}.safetensors", "model_1.safetensors says what its number counts: it is taken"),
        ("step_{}.safetensors", ""),
    ],
)
def test_what_the_numbers_of_names_count_is_said(checkpoint: Path, names: str, says: str) -> None:
    result = forked(checkpoint, "named", names, "{checkpoint}", "{out}", replicas=1)
    assert result.steps == (0, 1, 2)
    told = (*result.warnings, *result.condition.get("reading", ()))
    said = [w for w in told if "count" in w or "epochs" in w]
    assert len(said) == bool(says)
    assert says in " ".join(said)


@pytest.mark.parametrize("names", ["fold_{}", "cv{}", "split{}", "member-{}", "model_fold{}"])
def test_the_models_of_a_cross_validation_are_no_steps(checkpoint: Path, names: str) -> None:
    words = ("named", f"{names}.safetensors", "{checkpoint}", "{out}")
    with pytest.raises(wb.RunError, match="none with a step in its name: say which one counts"):
        forked(checkpoint, *words, replicas=1)
    pattern = f"{names.format(2)}.safetensors"
    by_hand(checkpoint, forked(checkpoint, *words, replicas=1, pattern=pattern), 2)


def test_a_script_that_writes_where_it_is_started_is_started_there(checkpoint: Path) -> None:
    script = f"exec {sys.executable} {FORMS / 'outside.py'} named step_{{}}.safetensors"
    with pytest.raises(wb.RequestError, match=r"sh -c 'cd \{out\} && exec python"):
        fork(checkpoint, wb.Gaussian(0.01), [*PYTHON, "named", "{checkpoint}"], "forks")
    command = ["sh", "-c", f'cd "{{out}}" && {script} "{{checkpoint}}" .']
    by_hand(checkpoint, fork(checkpoint, wb.Gaussian(0.01), command, "forks", replicas=1), 2)


def test_one_step_twice_is_refused(checkpoint: Path) -> None:
    with pytest.raises(wb.RequestError, match="are both step 6"):
        forked(checkpoint, "one_step_twice", "{checkpoint}", "{out}")


def test_checkpoints_at_other_steps_are_said(checkpoint: Path) -> None:
    result = forked(checkpoint, "other_steps", "{checkpoint}", "{out}")
    assert result.steps == (0, 3)
    said = [w for w in result.warnings if "at other steps than reference" in w]
    assert len(said) == 2


def test_no_step_in_common(checkpoint: Path) -> None:
    with pytest.raises(wb.RunError, match="checkpoints at no common step"):
        forked(checkpoint, "nothing_in_common", "{checkpoint}", "{out}")


def test_a_script_that_goes_on_from_a_file_of_its_own_shows_in_the_twin(checkpoint: Path) -> None:
    result = forked(checkpoint, "goes_on_by_itself", "{checkpoint}", "{out}", jobs=1)
    assert result.noise_floor > 0.1
    (said,) = [w for w in result.warnings if "does not repeat itself" in w]
    assert "its unperturbed twin differs at step 3, in 'w'." in said
    assert f"up to {result.noise_floor:.3g} are noise" in said


def test_a_script_that_ignores_its_checkpoint_is_said(checkpoint: Path) -> None:
    result = forked(checkpoint, "ignores", "{checkpoint}", "{out}")
    assert any("seems to ignore the checkpoint" in w for w in result.warnings)
    assert set(ends(result).values()) == {0.0}


def test_a_script_that_is_killed(checkpoint: Path) -> None:
    with pytest.raises(wb.RunError, match="reference ended with signal 9"):
        forked(checkpoint, "dies", "{checkpoint}", "{out}")


def test_a_checkpoint_without_numbers(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"count": np.arange(4)}, tmp_path / "c.safetensors")
    with pytest.raises(wb.RequestError, match="no floating-point weight"):
        fork(tmp_path / "c.safetensors", wb.Gaussian(1), ("x", "{checkpoint}", "{out}"), tmp_path)


def test_what_rounding_swallows_is_said(checkpoint: Path) -> None:
    words = (*PYTHON, "only_at_the_end", "{checkpoint}", "{out}")
    result = fork(checkpoint, wb.Gaussian(1e-12), words, "forks", replicas=1)
    assert any("rounding swallowed it" in w for w in result.warnings)


@pytest.mark.slow
def test_another_call_on_the_same_folder_waits_for_nobody(checkpoint: Path) -> None:
    words = ["-m", "wingbeat", "fork", str(checkpoint), "--perturb", "gaussian:0.01"]
    words += ["--out", "forks", "--", *PYTHON, "slow", "{checkpoint}", "{out}", "30"]
    first = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    try:
        while not Path("calls.txt").exists():
            assert first.poll() is None
        with pytest.raises(wb.StoreError, match="in use by another process"):
            forked(checkpoint, "slow", "{checkpoint}", "{out}", "30", replicas=3, jobs=1)
    finally:
        first.kill()
        first.wait()
