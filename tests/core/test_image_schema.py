"""What records may have: the rules of each property, and which of them a change has to obey."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imaged.core.errors import InvalidAttribute
from imaged.core.image import Image, PropertyValue
from imaged.core.image_schema import DEFAULT_SCHEMA, ImageSchema, PropertySchema, PropertyType
from support.sample_images import queued

UUID = "5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5"
INTEGER = PropertySchema(types=(PropertyType.INTEGER,), minimum=1, maximum=8)
NUMBER = PropertySchema(types=(PropertyType.NUMBER,))
BOOLEAN = PropertySchema(types=(PropertyType.BOOLEAN,))
NULL_OR_TEXT = PropertySchema(types=(PropertyType.NULL, PropertyType.STRING), max_length=3)
CHOICE = PropertySchema(choices=("a", "b"))
PATTERN = PropertySchema(pattern="^[a-z]+$", min_length=2)
TEXT_OR_INTEGER = PropertySchema(types=(PropertyType.STRING, PropertyType.INTEGER))

#: A schema, a value, and as what it is kept; or a part of the refusal.
VALUES: list[tuple[PropertySchema, PropertyValue, PropertyValue, str]] = [
    (PropertySchema(), "", "", ""),
    (PropertySchema(), None, None, "must be a string"),
    (PropertySchema(), 5, None, "must be a string"),
    (PropertySchema(), True, None, "must be a string"),
    (INTEGER, 5, 5, ""),
    (INTEGER, "5", 5, ""),
    (INTEGER, 0, None, "must be 1 at least"),
    (INTEGER, 9, None, "may be 8 at most"),
    (INTEGER, 5.0, None, "must be an integer"),
    (INTEGER, True, None, "must be an integer"),
    (INTEGER, "five", None, "must be an integer"),
    (INTEGER, None, None, "must be an integer"),
    (NUMBER, 5, 5, ""),
    (NUMBER, 0.5, 0.5, ""),
    (NUMBER, "0.5", 0.5, ""),
    (NUMBER, "1e5", None, "must be a number"),
    (NUMBER, False, None, "must be a number"),
    (BOOLEAN, True, True, ""),
    (BOOLEAN, "false", False, ""),
    (BOOLEAN, "no", None, "must be true or false"),
    (BOOLEAN, 1, None, "must be true or false"),
    (NULL_OR_TEXT, None, None, ""),
    (NULL_OR_TEXT, "abc", "abc", ""),
    (NULL_OR_TEXT, "abcd", None, "may have 3 characters at most"),
    (NULL_OR_TEXT, 5, None, "must be null or a string"),
    (CHOICE, "a", "a", ""),
    (CHOICE, "c", None, "must be one of a, b"),
    (PATTERN, "ab", "ab", ""),
    (PATTERN, "a", None, "must have 2 characters at least"),
    (PATTERN, "AB", None, "must match the pattern ^[a-z]+$"),
    (TEXT_OR_INTEGER, "5", "5", ""),
    (TEXT_OR_INTEGER, 5, 5, ""),
]


@pytest.mark.parametrize(("schema", "value", "kept", "refusal"), VALUES)
def test_the_values_of_a_property(
    schema: PropertySchema, value: PropertyValue, kept: PropertyValue, refusal: str
) -> None:
    """A value is kept in its type, or refused by the name of the property."""
    described = ImageSchema(properties={"p": schema})
    image = with_properties(p=value)
    if refusal:
        with pytest.raises(InvalidAttribute, match="'p'") as caught:
            described.checked(image)
        assert refusal in str(caught.value)
        return
    found = described.checked(image).properties["p"]
    assert (found, type(found)) == (kept, type(kept))


def with_properties(**properties: PropertyValue) -> Image:
    """An image with these properties."""
    return replace(queued(), properties=properties)


@pytest.mark.parametrize("name", ["kernel_id", "ramdisk_id"])
def test_the_image_of_a_kernel(name: str) -> None:
    """A UUID, or null; the other properties that are known by default are strings."""
    for value in (UUID, UUID.upper(), None):
        image = with_properties(**{name: value})
        assert DEFAULT_SCHEMA.checked(image) == image
    for wrong in ("", "none", UUID[:-1], f"{UUID}0", 5):
        with pytest.raises(InvalidAttribute, match=name):
            DEFAULT_SCHEMA.checked(with_properties(**{name: wrong}))
    for other in ("architecture", "os_distro", "anything"):
        with pytest.raises(InvalidAttribute, match=other):
            DEFAULT_SCHEMA.checked(with_properties(**{other: None}))


def test_what_a_change_leaves_alone_is_not_compared() -> None:
    """A record from before the schema can be changed elsewhere, and not made worse."""
    described = ImageSchema(properties={"p": CHOICE}, required=frozenset({"q", "name"}))
    old = with_properties(p="old", r="x")
    for after in (
        replace(old, hidden=True),
        replace(old, properties={"p": "old", "r": "y"}),
        replace(old, properties={"p": "a", "r": "x"}),
        replace(old, properties={"r": "x"}),
    ):
        assert described.checked(after, old) == after
    with pytest.raises(InvalidAttribute, match="'p'"):
        described.checked(replace(old, properties={"p": "older", "r": "x"}), old)


@pytest.mark.parametrize("name", ["q", "name", "disk_format"])
def test_what_is_required(name: str) -> None:
    """A new image has it, and an image that has it keeps it."""
    described = ImageSchema(required=frozenset({name}))
    whole = replace(with_properties(q="x"), name="a", disk_format="raw")
    assert described.checked(whole) == whole
    kept = {key: value for key, value in whole.properties.items() if key != name}
    without = replace(
        whole,
        properties=kept,
        name=None if name == "name" else whole.name,
        disk_format=None if name == "disk_format" else whole.disk_format,
    )
    for before in (None, whole):
        with pytest.raises(InvalidAttribute, match=f"'{name}' is required"):
            described.checked(without, before)


@pytest.mark.parametrize("name", ["disk_format", "container_format"])
def test_formats_are_those_of_the_configuration(name: str) -> None:
    """Others are refused, unless the image has one already."""
    described = ImageSchema(disk_formats=("luks",), container_formats=("luks",))
    none = replace(queued(), disk_format=None, container_format=None)
    good = replace(none, **{name: "luks"})  # type: ignore[arg-type]
    bad = replace(none, **{name: "qcow2"})  # type: ignore[arg-type]
    assert described.checked(good) == good
    assert described.checked(replace(bad, hidden=True), bad).hidden
    for before in (None, good):
        with pytest.raises(InvalidAttribute, match=f"'{name}' must be one of luks"):
            described.checked(bad, before)


def test_an_unchanged_image_is_the_same_object() -> None:
    """So that nothing is written."""
    image = with_properties(p="x")
    assert DEFAULT_SCHEMA.checked(image, image) is image
