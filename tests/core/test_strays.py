"""The brake: few of many may go, many never, and all of them never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.strays import StrayLimits
from support.settings import configured


@pytest.mark.parametrize(
    ("strays", "keys", "may_go"),
    [
        (0, 0, True),
        (0, 10, True),
        (1, 1, False),  # all of it
        (1, 99, False),  # more than the share
        (1, 100, True),
        (5, 100, False),
        (100, 100, False),
        (100, 9_999, False),
        (100, 10_000, True),
        (101, 1_000_000, False),  # within the share, and more than the count
    ],
)
def test_few_of_many_may_go(strays: int, keys: int, *, may_go: bool) -> None:
    """The defaults: 100, and 1 % of what the store holds, both at the same time."""
    assert configured(StrayLimits).allow(strays, keys) is may_go


@given(st.integers(1, 10**6), st.floats(0, 1), st.integers(0, 10**6))
def test_a_whole_store_never_goes(keys: int, max_share: float, max_strays: int) -> None:
    """Whatever the settings allow: where no blob has a row, the catalog is the wrong one."""
    assert not StrayLimits(max_strays=max_strays, max_share=max_share).allow(keys, keys)
