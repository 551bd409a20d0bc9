"""Without the extra, a ready-made task says in one line what to install."""

from __future__ import annotations

import sys

import pytest

from wingbeat.errors import RequestError
from wingbeat.tasks.data import sklearn
from wingbeat.tasks.iris import iris


@pytest.mark.parametrize("make", [sklearn.digits, iris])
def test_the_extra_is_named(make, monkeypatch: pytest.MonkeyPatch) -> None:
    getattr(make, "cache_clear", lambda: None)()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # as if it could not be imported
    with pytest.raises(RequestError, match=r"pip install 'wingbeat\[tasks\]'"):
        make()
