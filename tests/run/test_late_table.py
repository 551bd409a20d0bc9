"""A result's table is made when it is first read, once, and is an ordinary field otherwise."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from functools import partial

import pandas as pd
import pytest

from wingbeat.execution.result import Result

ROWS = {"metric": ["l2"], "step": [0], "value": [1.5]}


def result_of(table: object) -> Result:
    return Result(table, {}, {}, {}, [], {})  # type: ignore[arg-type]


def test_the_table_is_made_once_and_when_it_is_read() -> None:
    made = []
    result = result_of(lambda: made.append(1) or pd.DataFrame(ROWS))
    assert made == []
    assert result.table is result.table
    assert made == [1]
    assert replace(result, warnings=("one",)).table is result.table
    assert next(f.name for f in fields(result)) == "table"


def test_a_table_that_is_there_is_the_field() -> None:
    table = pd.DataFrame(ROWS)
    assert result_of(table).table is table
    with pytest.raises(TypeError):
        Result()  # type: ignore[call-arg]  # it has no default


def test_a_result_is_pickled_before_and_after() -> None:
    late = result_of(partial(pd.DataFrame, ROWS))
    for result in (late, late.table is not None and late):
        assert pickle.loads(pickle.dumps(result)).table.equals(pd.DataFrame(ROWS))
