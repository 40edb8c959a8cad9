"""The names that exported files may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.services.tasks.types.export import why_file_name_refused

GOOD = [
    "a",
    "debian-13.raw",
    "2026/11/debian-13.qcow2",
    "a/b",
    "with space.raw",
    "Ünïcödé 日本.raw",
    "x" * 255,
    "a.b..c",
    "~",
    "-rf",
    "%2e%2e",
]

REFUSED = [
    ("", "empty part"),
    ("/etc/passwd", "absolute"),
    ("//a", "absolute"),
    ("a/", "end with"),
    ("a//b", "empty part"),
    (".", 'begins with "."'),
    ("..", 'begins with "."'),
    ("../a", 'begins with "."'),
    ("a/../b", 'begins with "."'),
    ("a/..", 'begins with "."'),
    ("a/./b", 'begins with "."'),
    (".hidden", 'begins with "."'),
    (".imaged-0.part", 'begins with "."'),
    ("a/.imaged-0", 'begins with "."'),
    ("a\\b", '"\\"'),
    ("..\\a", '"\\"'),
    ("a\0b", "invisible characters"),
    ("a\nb", "invisible characters"),
    ("a\x1b[31m", "invisible characters"),
    ("a\x7f", "invisible characters"),
    ("a\x9b", "invisible characters"),
    ("a\u202egpj", "invisible characters"),
    ("a\u200b", "invisible characters"),
    ("a\u2028b", "invisible characters"),
    ("a\ud800", "invisible characters"),
    (" a", "space"),
    ("a /b", "space"),
    ("a\u00a0", "space"),
    ("x" * 256, "a part that is longer than 255"),
    ("ü" * 128, "a part that is longer than 255"),
    ("/".join(["x" * 128] * 4), "longer than 512"),
]


@pytest.mark.parametrize("name", GOOD)
def test_good_names(name: str) -> None:
    """Folders and all that can be read."""
    assert why_file_name_refused(name) == ""


@pytest.mark.parametrize(("name", "why"), REFUSED)
def test_refused_names(name: str, why: str) -> None:
    """Each says what is wrong with it."""
    assert why in why_file_name_refused(name)


@given(st.text())
def test_no_name_leads_out(name: str) -> None:
    """Whatever is let through stays below its folder, and is none of ours."""
    if why_file_name_refused(name):
        return
    parts = name.split("/")
    assert not {"", ".", ".."} & {*parts}
    assert not any(part.startswith(".") for part in parts)
    assert "\0" not in name
