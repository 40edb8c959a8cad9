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

REFUSED = {
    "empty part": ["", "a//b"],
    "absolute": ["/etc/passwd", "//a"],
    "end with": ["a/"],
    'begins with "."': [
        ".",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "a/./b",
        ".hidden",
        ".imaged-0.part",
        "a/.imaged-0",
    ],
    '"\\"': ["a\\b", "..\\a"],
    "invisible characters": [
        "a\x00b",
        "a\nb",
        "a\x1b[31m",
        "a\x7f",
        "a\x9b",
        "a\u202egpj",
        "a\u200b",
        "a\u2028b",
        "a\ud800",
    ],
    "space": [" a", "a /b", "a\xa0"],
    "a part that is longer than 255": ["x" * 256, "ü" * 128],
    "longer than 512": ["/".join(["x" * 128] * 4)],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_names(name: str) -> None:
    """Folders and all that can be read."""
    assert why_file_name_refused(name) == ""


@pytest.mark.parametrize(
    ("name", "why"), [(name, why) for why, names in REFUSED.items() for name in names]
)
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
