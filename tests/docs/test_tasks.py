"""The reference of tasks tells what the types are asked with, and what they answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from imaged.config import load
from imaged.daemon.container import ServiceContainer
from imaged.daemon.drivers import open_drivers
from imaged.services.tasks.task_type import TaskType, read_input
from support.command import Workspace

PAGE = Path(__file__).parents[2] / "docs/reference/tasks.md"
BLOCKS = re.compile(r"(Input|Result)\n\n```json\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TaskType[Any]]:
    """Every type that comes with imaged, as a daemon has it."""
    place = Workspace(tmp_path_factory.mktemp("place"))
    config = load(place.write(), {})

    async def built() -> dict[str, TaskType[Any]]:
        async with open_drivers(config) as parts:
            return {
                kind.facts.name: kind
                for kind in ServiceContainer(parts, config).task_service.registry
            }

    return anyio.run(built)


@pytest.fixture(scope="module")
def sections() -> dict[str, dict[str, Any]]:
    """The sections of the page: their examples."""
    parts = re.split(r"^## `(\w+)`$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {
        name: {what: json.loads(text) for what, text in BLOCKS.findall(body)}
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def test_every_type_has_a_section(
    types: dict[str, TaskType[Any]], sections: dict[str, dict[str, Any]]
) -> None:
    """And no section is of a type that is not there."""
    assert sections.keys() == types.keys()


def test_examples_are_those_of_the_code(
    types: dict[str, TaskType[Any]], sections: dict[str, dict[str, Any]]
) -> None:
    """Input and result, as a client would send and read them."""
    for name, kind in types.items():
        example = sections[name]
        shown = msgspec.to_builtins(kind.example.input)
        assert read_input(kind, example["Input"]) == kind.example.input, name
        assert shown.items() >= example["Input"].items(), name
        assert example["Result"] == msgspec.to_builtins(kind.example.result), name


def test_creatable_types_refuse_at_the_call(types: dict[str, TaskType[Any]]) -> None:
    """Every type that clients can ask for validates its input."""
    for kind in types.values():
        assert kind.facts.is_creatable == hasattr(kind, "accept")
