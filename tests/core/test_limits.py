"""Bodies that are too large, too long or too short."""

from __future__ import annotations

import pytest

from imaged.core.errors import ImagedError, PropertiesTooLarge, SizeMismatch, TooLarge
from imaged.core.limits import (
    GIB,
    KIB,
    MIB,
    require_announced,
    require_complete,
    require_properties_within,
    require_within,
)


@pytest.mark.parametrize("fits", [None, 0, 99, 100])
def test_a_body_that_says_itself_that_it_is_too_large(fits: int | None) -> None:
    """It is refused before its first byte. A body need not say how large it is."""
    require_announced(fits, limit_bytes=100)
    with pytest.raises(TooLarge, match="100 bytes"):
        require_announced(101, limit_bytes=100)


@pytest.mark.parametrize(
    ("received_bytes", "announced_bytes", "error", "fits"),
    [
        (101, None, TooLarge, 100),
        (101, 50, TooLarge, 50),
        (51, 50, SizeMismatch, 50),
        (1, 0, SizeMismatch, 0),
    ],
)
def test_bodies_that_outgrow_what_they_may_have(
    received_bytes: int, announced_bytes: int | None, error: type[ImagedError], fits: int
) -> None:
    """They are refused as soon as it shows, and not a byte before."""
    require_within(fits, announced_bytes, limit_bytes=100)
    with pytest.raises(error):
        require_within(received_bytes, announced_bytes, limit_bytes=100)


@pytest.mark.parametrize(("received_bytes", "announced_bytes"), [(6, 7), (8, 7), (0, 1)])
def test_bodies_that_are_not_what_they_announced(received_bytes: int, announced_bytes: int) -> None:
    """Both numbers are told. Where nothing was announced, whatever came is complete."""
    for announced in (None, received_bytes):
        require_complete(received_bytes, announced)
    with pytest.raises(
        SizeMismatch, match=f"{announced_bytes} bytes .* {received_bytes} were received"
    ):
        require_complete(received_bytes, announced_bytes)


def test_units_are_binary() -> None:
    """A kibibyte has 1024 bytes, and so on."""
    assert (KIB, MIB, GIB) == (2**10, 2**20, 2**30)


@pytest.mark.parametrize(
    ("properties", "before", "fits"),
    [
        ({}, None, True),
        ({"name": "x" * 6}, None, True),
        ({"name": "x" * 7}, None, False),
        ({"name": "\u00e9" * 3}, None, True),
        ({"name": "\u00e9" * 4}, None, False),
        ({"a": "12345", "b": "123"}, None, True),
        ({"a": "12345", "b": "1234"}, None, False),
        ({"name": "x" * 20}, {"name": "y" * 20}, True),
        ({"name": "x" * 19}, {"name": "y" * 20}, True),
        ({"name": "x" * 21}, {"name": "y" * 20}, False),
        ({"name": "x" * 7}, {"name": "y"}, False),
    ],
)
def test_properties_have_a_size_in_all(
    properties: dict[str, str], before: dict[str, str] | None, *, fits: bool
) -> None:
    """Names and values, in UTF-8; what is larger already may stay, and shrink, and not grow."""
    if fits:
        require_properties_within(properties, 10, before)
        return
    with pytest.raises(PropertiesTooLarge, match="10 bytes in all"):
        require_properties_within(properties, 10, before)
