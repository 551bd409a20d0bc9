"""Every public estimator takes array-likes of any kind, and refuses what is none by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from faults import metric_calls
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import wingbeat.metrics as wm
from wingbeat.errors import RequestError


def test_every_public_name_has_a_good_call():
    results = {
        name
        for name in wm.__all__
        if isinstance(getattr(wm, name), type)  # what functions return, and nobody has to make
        and (dataclasses.is_dataclass(getattr(wm, name)) or hasattr(getattr(wm, name), "_fields"))
    }
    called = {name for name in metric_calls.GOOD if "." not in name}
    assert called | results == set(wm.__all__)
    assert not metric_calls.parameters_without_call()
    for name, arguments in metric_calls.GOOD.items():
        assert metric_calls.called(name, arguments)[0] == "value", name


@pytest.mark.parametrize("name", metric_calls.GOOD)
def test_forms_of_the_same_numbers_agree_and_what_is_none_is_refused(name):
    found = [metric_calls.attack(*a) for a in metric_calls.attacks() if a[0] == name]
    assert len(found) > 10
    assert not [words for words in found if words]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_array_falls_through_to_an_error_of_numpys(data):
    name = data.draw(st.sampled_from(sorted(metric_calls.GOOD)))
    argument = data.draw(st.sampled_from(sorted(metric_calls.GOOD[name])))
    arrays = hnp.arrays(
        dtype=st.sampled_from([np.float64, np.float32, np.int64, np.bool_, np.complex128, "U2"]),
        shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
    value = data.draw(st.one_of(arrays, arrays.map(lambda a: a.tolist())))
    assert not metric_calls.attack(name, argument, "any", repr(value), lambda _: value)


def test_a_refusal_names_the_argument_and_quotes_little():
    with pytest.raises(RequestError, match=r"^mean_b is a tensor of layout torch\.sparse_coo"):
        wm.gaussian_kl(
            torch.ones(2), torch.ones(2), torch.ones(2).to_sparse(), precision_b=torch.ones(2)
        )
    with pytest.raises(RequestError) as caught:
        wm.spread([[1.0] * 1000, [1.0]])
    assert len(str(caught.value)) < 200
