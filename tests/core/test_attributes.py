"""The table of attributes: which values may be written, and under which names."""

from __future__ import annotations

import pytest

from imaged.core.attributes import (
    ATTRIBUTES,
    is_printable,
    validate_attribute,
    validate_property,
    validate_tag,
)
from imaged.core.errors import ImagedError, InvalidAttribute, ReadOnlyAttribute, TooMany

GOOD = [
    ("name", "web", "web"),
    ("name", None, None),
    ("name", "", ""),
    ("name", "x" * 255, "x" * 255),
    ("name", "grün 漢字 🙂", "grün 漢字 🙂"),
    ("protected", True, True),
    ("os_hidden", False, False),
    ("min_ram", 0, 0),
    ("min_disk", 2**31 - 1, 2**31 - 1),
    ("disk_format", "qcow2", "qcow2"),
    ("disk_format", None, None),
    ("container_format", "bare", "bare"),
    ("visibility", "community", "community"),
    ("owner", "p1", "p1"),
    ("tags", [], ()),
    ("tags", ["b", "a", "b"], ("b", "a")),
    (
        "id",
        "AAAAAAAA-0000-4000-8000-000000000001",
        "AAAAAAAA-0000-4000-8000-000000000001",
    ),
]

BAD = [
    ("name", 5),
    ("name", "x" * 256),
    ("name", "a\x00b"),
    ("name", "a\nb"),
    ("name", "a\x1b[31mb"),
    ("name", "a\x85b"),
    ("name", "\ud800"),
    ("name", ["a"]),
    ("owner", None),
    ("owner", "p" * 256),
    ("protected", "true"),
    ("protected", 1),
    ("protected", None),
    ("os_hidden", 0),
    ("min_ram", -1),
    ("min_ram", 1.0),
    ("min_ram", True),
    ("min_ram", "1"),
    ("min_ram", 2**31),
    ("min_disk", None),
    ("visibility", "secret"),
    ("visibility", None),
    ("tags", "a"),
    ("tags", None),
    ("tags", {"a": "b"}),
    ("tags", ["a", 1]),
    ("tags", ["x" * 256]),
    ("tags", ["a\x00"]),
    ("id", "xyz"),
    ("id", None),
    ("id", "aaaaaaaa-0000-4000-8000-000000000001\n"),
]


@pytest.mark.parametrize(("name", "value", "kept"), GOOD)
def test_value_is_taken(name: str, value: object, kept: object) -> None:
    """A value that is right is taken as an image has it."""
    assert validate_attribute(ATTRIBUTES[name], value) == kept


@pytest.mark.parametrize(("name", "value"), BAD)
def test_value_is_refused_by_name(name: str, value: object) -> None:
    """A value that is wrong is refused, and the sentence names the attribute."""
    with pytest.raises(InvalidAttribute) as refusal:
        validate_attribute(ATTRIBUTES[name], value)
    assert f"'{name}'" in str(refusal.value)


def test_number_of_tags_is_limited() -> None:
    """128 different tags are accepted, and one more is not."""
    names = [f"t{number}" for number in range(128)]
    assert validate_attribute(ATTRIBUTES["tags"], [*names, *names]) == tuple(names)
    with pytest.raises(TooMany):
        validate_attribute(ATTRIBUTES["tags"], [*names, "one more"])


@pytest.mark.parametrize("value", ["", "v", "two\nlines\tand a tab", "x" * 65_535, "漢字"])
def test_property_is_taken(value: str) -> None:
    """A property takes any text, also of several lines."""
    assert validate_property("os_distro", value) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "v"),
        ("x" * 256, "v"),
        ("a\nb", "v"),
        ("a\x00", "v"),
        ("\udfff", "v"),
        ("k", []),
        ("k", {}),
        ("k", "x" * 65_536),
        ("k", "a\x00b"),
        ("k", "a\x1bb"),
        ("k", "\ud800"),
    ],
)
def test_property_is_refused(name: str, value: object) -> None:
    """What no log or database could keep, or no property is, is refused."""
    with pytest.raises(InvalidAttribute):
        validate_property(name, value)


@pytest.mark.parametrize(
    "name",
    ["os_glance_x", "os_hash_x", "imaged_x", "imaged_last_failure", "deleted", "deleted_at"],
)
def test_reserved_name_is_refused(name: str) -> None:
    """Names by which the service tells what it knows itself are not the client's."""
    with pytest.raises(ReadOnlyAttribute, match=name):
        validate_property(name, "v")


@pytest.mark.parametrize("tag", [5, None, "x" * 256, "a\x7f"])
def test_tag_is_refused(tag: object) -> None:
    """A tag is a line of 255 characters at most."""
    with pytest.raises(InvalidAttribute):
        validate_tag(tag)


def test_half_characters_do_not_hide_in_messages() -> None:
    """The sentence about a name that cannot be encoded can be encoded."""
    with pytest.raises(ImagedError) as refusal:
        validate_property("a\ud800", "v")
    assert str(refusal.value).encode()


@pytest.mark.parametrize(("text", "is_fine"), [("a b", True), ("", True), ("a\rb", False)])
def test_printable(text: str, is_fine: bool) -> None:
    """Control characters cannot be printed."""
    assert is_printable(text) is is_fine
