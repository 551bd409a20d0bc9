from __future__ import annotations

import inspect

from wingbeat import metrics


def test_every_estimator_is_exported_and_documented():
    for name in metrics.__all__:
        thing = getattr(metrics, name)
        assert inspect.getdoc(thing), name
        assert thing.__module__.startswith("wingbeat.metrics"), name


def test_every_function_shows_an_example():
    for name in metrics.__all__:
        thing = getattr(metrics, name)
        if inspect.isfunction(thing):
            assert ">>>" in inspect.getdoc(thing), name
