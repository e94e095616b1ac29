"""Looks for garbage are rare for a while, and then as before."""

from __future__ import annotations

import gc

import pytest

from rs_toolkit.garbage import rarely_collecting


@pytest.fixture(params=[(700, 10, 10), (0, 10, 10), (10**6, 5, 5)])
def threshold(request):
    before = gc.get_threshold()
    gc.set_threshold(*request.param)
    yield request.param
    gc.set_threshold(*before)


def test_the_setting_comes_back_also_after_an_error(threshold) -> None:
    with pytest.raises(KeyError), rarely_collecting():
        first = gc.get_threshold()[0]
        # Who has switched it off, or made it rarer, keeps that.
        assert first == 0 if threshold[0] == 0 else first >= max(threshold[0], 10_000)
        raise KeyError
    assert gc.get_threshold() == threshold
