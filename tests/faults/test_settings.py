"""Settings that can change bits: a run goes on under another one with equal bits, or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from faults import going_on

from wingbeat import fingerprint as fingerprints
from wingbeat.fingerprint import FINGERPRINT_DECIDES, differing_field, fingerprint

SCRIPT = Path(going_on.__file__)
SETTINGS = {
    "nothing": ({}, [], ""),
    "MKL_CBWR": ({"MKL_CBWR": "COMPATIBLE"}, [], ""),
    "MKL_CBWR off": ({"MKL_CBWR": "OFF"}, [], ""),
    "MKL_ENABLE_INSTRUCTIONS": ({"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}, [], ""),
    "ONEDNN_MAX_CPU_ISA": ({"ONEDNN_MAX_CPU_ISA": "SSE41"}, [], ""),
    "DNNL_MAX_CPU_ISA": ({"DNNL_MAX_CPU_ISA": "SSE41"}, [], ""),
    "ONEDNN_DEFAULT_FPMATH_MODE": ({"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}, [], ""),
    "ATEN_CPU_CAPABILITY": ({"ATEN_CPU_CAPABILITY": "default"}, [], ""),
    "OMP_NUM_THREADS": ({"OMP_NUM_THREADS": "2"}, [], ""),
    "MKL_NUM_THREADS": ({"MKL_NUM_THREADS": "2"}, [], ""),
    "PYTHONHASHSEED": ({"PYTHONHASHSEED": "7"}, [], ""),
    "-O": ({}, ["-O"], ""),
    "mkldnn": ({}, [], "torch.backends.mkldnn.enabled = False"),
    "precision": ({}, [], "torch.set_float32_matmul_precision('medium')"),
    "default type": ({}, [], "torch.set_default_dtype(torch.float64)"),
    "denormals": ({}, [], "torch.set_flush_denormal(True)"),
    "attention": ({}, [], "torch.backends.cuda.enable_flash_sdp(False)"),
    "deterministic": ({}, [], "torch.use_deterministic_algorithms(True)"),
    "processor": (
        {},
        [],
        "import wingbeat.fingerprint as f; f.processor_name = lambda: 'other'",
    ),
}


def script(folder, what, environment=None, flags=(), setting=""):
    """Begin a run, or go on with it, in a process of its own; return what it says."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("MKL_", "ONEDNN_", "DNNL_"))}
    done = subprocess.run(
        [sys.executable, *flags, str(SCRIPT), str(folder), what, setting],
        capture_output=True,
        text=True,
        env={**own, "OMP_NUM_THREADS": "1", **(environment or {})},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def tables(folder):
    names = ["table.parquet", *(f"snapshots/00000{step}.safetensors" for step in (0, 2, 4, 6))]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run that was stopped in its middle, and the files of one that was not."""
    folder = tmp_path_factory.mktemp("settings")
    assert script(folder / "begun", "begin") == "stopped"
    assert script(folder / "whole", "finish") == "finished"
    return folder / "begun", tables(folder / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_equal_bits_or_a_refusal(name, begun, tmp_path):
    environment, flags, setting = SETTINGS[name]
    folder, expected = shutil.copytree(begun[0], tmp_path / "run"), begun[1]
    said = script(folder, "finish", environment, flags, setting)
    assert said == "finished" or said.startswith("refused ")
    if said == "finished":
        assert tables(folder) == expected
    assert (name != "nothing") or said == "finished"


@contextmanager
def switched(name):
    """Switch one thing of this process, and put it back."""
    mkldnn, default = torch.backends.mkldnn, torch.get_default_dtype()
    switches = {
        "onednn": (lambda on: setattr(mkldnn, "enabled", not on)),
        "float32_matmul_precision": lambda on: torch.set_float32_matmul_precision(
            "medium" if on else "highest"
        ),
        "default_dtype": lambda on: torch.set_default_dtype(torch.float64 if on else default),
        "denormals": torch.set_flush_denormal,
        "attention": lambda on: torch.backends.cuda.enable_flash_sdp(not on),
        "deterministic_algorithms": torch.use_deterministic_algorithms,
        "threads": lambda on: torch.set_num_threads(2 if on else 1),
    }
    switches[name](True)
    try:
        yield
    finally:
        switches[name](False)


SWITCHES = (
    *("onednn", "float32_matmul_precision", "default_dtype", "denormals", "attention"),
    *("deterministic_algorithms", "threads"),
)


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_of_torch_is_in_the_fingerprint(name):
    before = fingerprint(torch.device("cpu"), torch.float32)
    with switched(name):
        during = fingerprint(torch.device("cpu"), torch.float32)
    assert differing_field(before, during) == name
    assert differing_field(before, fingerprint(torch.device("cpu"), torch.float32)) is None


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("MKL_ENABLE_INSTRUCTIONS", "mkl_isa"),
        ("ONEDNN_MAX_CPU_ISA", "onednn_isa"),
        ("DNNL_MAX_CPU_ISA", "onednn_isa"),
        ("MKL_NUM_THREADS", "library_variables"),
        ("ONEDNN_DEFAULT_FPMATH_MODE", "library_variables"),
    ],
)
def test_a_variable_of_a_library_is_in_the_fingerprint(variable, field, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    before = fingerprint(torch.device("cpu"), torch.float32)
    monkeypatch.setenv(variable, "1")
    assert differing_field(before, fingerprint(torch.device("cpu"), torch.float32)) == field


def test_what_decides_is_there_and_folders_of_before_stay_readable(monkeypatch):
    here = fingerprint(torch.device("cpu"), torch.float32)
    of_the_driver = {"driver", "mode", "chunk", "spare"}
    assert set(FINGERPRINT_DECIDES) - of_the_driver <= set(here)
    before = {k: v for k, v in here.items() if k not in ("denormals", "cuda", "attention")}
    assert differing_field(before, here) is None
    monkeypatch.setattr(fingerprints, "processor_name", lambda: "another")
    other = fingerprint(torch.device("cpu"), torch.float32)
    assert differing_field(here, other) == "processor"


def test_optimised_python_is_said_to_lose_asserts(monkeypatch):
    assert fingerprints.warn_of_lost_asserts() == ()
    optimised = SimpleNamespace(flags=SimpleNamespace(optimize=1))
    monkeypatch.setattr(fingerprints, "sys", optimised)
    assert "assert statements" in fingerprints.warn_of_lost_asserts()[0]
