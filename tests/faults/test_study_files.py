"""Hostile study files are refused by name before a grid is built; scalars are of YAML 1.2."""

from __future__ import annotations

from contextlib import suppress

import pytest
from faults import study_files
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from wingbeat.errors import WingbeatError
from wingbeat.study.file import StudyFile, read_study
from wingbeat.study.yaml_file import read_yaml


@pytest.mark.parametrize("name", study_files.REFUSED)
def test_a_hostile_file_is_refused_by_name(name, tmp_path):
    assert not study_files.attack(tmp_path, name)


@pytest.mark.parametrize("name", study_files.READ)
def test_scalars_of_yaml_1_2(name, tmp_path):
    line, expected = study_files.READ[name]
    (tmp_path / name).write_text(f"{study_files.YBASE}  {line}\n", encoding="utf-8")
    (found,) = read_study(tmp_path / name).conditions()
    assert found.tags["a"] == expected
    assert type(found.tags["a"]) is type(expected)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = st.sampled_from([*StudyFile.model_fields, "seed", "factory", "arguments.lr", "x"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES))
def test_no_content_falls_through(top, base):
    with suppress(WingbeatError, ValidationError):
        StudyFile.model_validate(
            {**top, "base": {"factory": "wingbeat.tasks.dense:circles_task", **base}}
        ).conditions()


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!?|>'\"#%@ \n\t,0189.~<", max_size=40))
def test_no_text_of_yaml_falls_through(text):
    with suppress(WingbeatError, ValueError):
        read_yaml(text)
