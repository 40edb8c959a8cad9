"""Keys say whose bytes they are, and what is no key is not ours."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.keys import is_key, make_key

IMAGE_ID = "8f1c2f0e-6f43-4d3a-9d6e-0a3f6a2c5b10"
KEY = "8f/8f1c2f0e-6f43-4d3a-9d6e-0a3f6a2c5b10.00000000000000000000000000000007"


def test_a_key_is_made_of_the_image_and_the_attempt() -> None:
    """Folder, image, attempt; always in lower case."""
    assert make_key(IMAGE_ID, UUID(int=7)) == KEY
    assert make_key(IMAGE_ID.upper(), UUID(int=7)) == KEY


@given(st.uuids(), st.uuids())
def test_every_key_is_one_and_leads_back_to_its_image(image: UUID, attempt: UUID) -> None:
    """What is made is recognised."""
    key = make_key(str(image), attempt)

    assert is_key(key)
    assert key[3:].partition(".")[0] == str(image)


def test_attempts_never_share_a_key() -> None:
    """Another attempt has another key."""
    assert make_key(IMAGE_ID, uuid4()) != make_key(IMAGE_ID, uuid4())


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY.upper(),
        KEY + "0",
        KEY[:-1],
        KEY[3:],
        "8e" + KEY[2:],
        "/" + KEY,
        "../" + KEY,
        KEY + "\n",
        KEY.replace(".", "/"),
        KEY.replace("-", ""),
        ".tmp/" + KEY[3:],
        "lost+found",
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    """Files of others are left alone."""
    assert not is_key(text)
