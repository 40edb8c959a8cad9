"""The schema file: Glance's own form is understood, and a mistake is named with its remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imaged.cli.doctor import Level
from imaged.cli.doctor.files import check_files
from imaged.config.schema_file import SchemaFileInvalid, read_schema
from imaged.core.image_schema import DEFAULT_SCHEMA, ImageSchema, PropertySchema, PropertyType
from imaged.daemon.preflight import find_file_problems
from support.settings import DEFAULT_CONFIG, config_of

UUID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
#: As in Glance 33's own file.
PEER = {
    "kernel_id": {"type": ["null", "string"], "pattern": UUID, "description": "a"},
    "architecture": {"description": "b", "type": "string"},
    "policy": {"type": "string", "enum": ["on_image_deletion", "do_not_delete"]},
}


def schema_of(folder: Path, content: object) -> ImageSchema:
    """What a file says. Raises SchemaFileInvalid."""
    file = folder / "schema-image.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_schema(config_of(folder, f'[images]\nschema_file = "{file}"\n'))


def test_without_a_file() -> None:
    """The properties that other services read, and the formats of the API."""
    assert read_schema(DEFAULT_CONFIG) == DEFAULT_SCHEMA


@pytest.mark.parametrize(
    ("content", "required"),
    [
        (PEER, set()),
        ({"properties": PEER}, set()),
        ({"properties": PEER, "required": ["architecture", "name"]}, {"architecture", "name"}),
    ],
)
def test_both_forms_of_the_peer(tmp_path: Path, content: object, required: set[str]) -> None:
    """A mapping of names to schemas, or that below ``properties`` with ``required``."""
    schema = schema_of(tmp_path, content)
    assert schema.required == required
    assert schema.properties == {
        "kernel_id": PropertySchema(
            description="a", types=(PropertyType.NULL, PropertyType.STRING), pattern=UUID
        ),
        "architecture": PropertySchema(description="b"),
        "policy": PropertySchema(choices=("on_image_deletion", "do_not_delete")),
    }


def test_every_limit_is_read(tmp_path: Path) -> None:
    """With the type of the property; ``is_base`` and other notes change nothing."""
    given = {
        "n": {"type": "integer", "minimum": 1, "maximum": 8, "is_base": False, "title": "n"},
        "t": {"minLength": 1, "maxLength": 3, "default": "x"},
    }
    assert schema_of(tmp_path, given).properties == {
        "n": PropertySchema(types=(PropertyType.INTEGER,), minimum=1, maximum=8),
        "t": PropertySchema(min_length=1, max_length=3),
    }


MISTAKES: list[tuple[object, str]] = [
    ("{", "is no JSON"),
    ("[]", "must be an object"),
    ('{"a": {}, "a": {}}', "has the name 'a' twice"),
    ("[" * 100_000, "nested too deeply"),
    ({"properties": {}, "more": 1}, "has 'more' beside"),
    ({"a": []}, "an object as the schema of 'a'"),
    ({"name": {}}, "describes 'name', which is an attribute"),
    ({"os_glance_x": {}}, "no image can have"),
    ({"a": {"type": "array"}}, "the 'type' \"array\"; use null, string"),
    ({"a": {"type": []}}, "the 'type' []"),
    ({"a": {"format": "uuid"}}, "the keyword 'format', which imaged does not enforce"),
    ({"a": {"pattern": "("}}, "no regular expression"),
    ({"a": {"pattern": 1}}, "a 'pattern' that is no text"),
    ({"a": {"description": 1}}, "a 'description' that is no text"),
    ({"a": {"enum": []}}, "an 'enum' that is no array with values"),
    ({"a": {"enum": [{}]}}, "an 'enum' with objects"),
    ({"a": {"maxLength": "3"}}, "a 'maxLength' that is no number"),
    ({"a": {"maxLength": 1.5}}, "a 'maxLength' that is no number"),
    ({"a": {"minimum": True}}, "a 'minimum' that is no number"),
    ({"properties": {}, "required": "a"}, "an array of names in 'required'"),
    ({"properties": {}, "required": ["size"]}, "requires 'size'"),
]


@pytest.mark.parametrize(("content", "what"), MISTAKES)
def test_a_mistake_is_named(tmp_path: Path, content: object, what: str) -> None:
    """With the file, the property and what to do."""
    with pytest.raises(SchemaFileInvalid) as caught:
        schema_of(tmp_path, content)
    assert str(caught.value).startswith(f"The schema file {tmp_path}/schema-image.json ")
    assert what in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Its path and the reason of the system."""
    config = config_of(tmp_path, '[images]\nschema_file = "/nonexistent.json"\n')
    with pytest.raises(SchemaFileInvalid, match=r"/nonexistent\.json cannot be read: No such"):
        read_schema(config)


@pytest.mark.parametrize(
    ("content", "mode", "level", "what"),
    [
        (json.dumps(PEER), 0o644, Level.OK, "describes 3 properties"),
        ('{"a": {"type": "array"}}', 0o644, Level.PROBLEM, "the 'type' \"array\""),
        (json.dumps(PEER), 0o666, Level.PROBLEM, "can be changed by"),
    ],
)
def test_doctor_and_check_config_look_at_it(
    tmp_path: Path, content: str, mode: int, level: Level, what: str
) -> None:
    """Doctor also at who may write it; a mistake keeps a daemon from starting."""
    file = tmp_path / "schema-image.json"
    file.write_text(content)
    file.chmod(mode)
    config = config_of(tmp_path, f'[images]\nschema_file = "{file}"\n')
    (found,) = [one for one in check_files(tmp_path / "no.toml", config) if one.subject == "schema"]
    assert (found.level, what in found.what) == (level, True)
    problems = [one for one in find_file_problems(config) if one.key == "images.schema_file"]
    assert [what in str(one) for one in problems] == [True] * ("array" in content)
