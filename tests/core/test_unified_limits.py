"""What is read from Keystone's documents of limits."""

from __future__ import annotations

from typing import Any

import pytest

from imaged.core.limits import MIB
from imaged.core.quota import Limits
from imaged.core.unified_limits import (
    LimitsDocumentInvalid,
    parse_project_limits,
    parse_registered_limits,
    parse_service_id,
)
from support.quotas import limits


def limit(name: str, number: object, region: str | None = None) -> dict[str, Any]:
    """A limit of a project, as Keystone describes it."""
    return {"resource_name": name, "resource_limit": number, "region_id": region, "id": "x"}


@pytest.mark.parametrize(
    ("found", "region", "expected"),
    [
        ([], "", {}),
        ([limit("image_size_total", 5)], "", limits(total=5 * MIB)),
        ([limit("image_stage_total", 0)], "", limits(staged=0)),
        ([limit("image_count_total", 7)], "", limits(images=7)),
        ([limit("image_count_uploading", 2)], "", limits(uploads=2)),
        ([limit("image_size_total", -1)], "", limits(total=None)),
        ([limit("image_count_total", -1)], "", limits(images=None)),
        ([limit("volumes", 3), limit("image_count_total", 7)], "", limits(images=7)),
        ([limit("image_count_total", 7, "one")], "", {}),
        ([limit("image_count_total", 7, "one")], "two", {}),
        ([limit("image_count_total", 7, "one")], "one", limits(images=7)),
        (
            [limit("image_count_total", 7, "one"), limit("image_count_total", 9)],
            "one",
            limits(images=7),
        ),
        (
            [limit("image_count_total", 9), limit("image_count_total", 7, "one")],
            "",
            limits(images=9),
        ),
    ],
)
def test_limits_of_a_project(found: list[object], region: str, expected: Limits) -> None:
    """MiB become bytes, -1 is unlimited, and the region's own limit precedes one without region."""
    assert parse_project_limits({"limits": found}, region) == expected


def test_limits_for_all_projects() -> None:
    """They have another name of list and number."""
    registered = {"resource_name": "image_count_total", "default_limit": 3, "region_id": None}

    assert parse_registered_limits({"registered_limits": [registered]}, "") == limits(images=3)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"limits": {}},
        {"limits": [limit("image_count_total", "7")]},
        {"limits": [limit("image_count_total", None)]},
        {"limits": [limit("image_count_total", True)]},
        {"limits": [limit("image_count_total", -2)]},
    ],
)
def test_documents_that_are_none(document: dict[str, Any]) -> None:
    """They are refused, and not taken for no limit."""
    with pytest.raises(LimitsDocumentInvalid):
        parse_project_limits(document, "")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"token": {"catalog": [{"type": "volume", "id": "v"}, {"type": "image", "id": "i"}]}},
            "i",
        ),
        ({"token": {"catalog": [{"type": "volume", "id": "v"}]}}, None),
        ({"token": {"catalog": None}}, None),
        ({"token": {}}, None),
        ({}, None),
    ],
)
def test_the_id_of_the_service(document: dict[str, Any], expected: str | None) -> None:
    """It is in the catalog of a token."""
    assert parse_service_id(document) == expected
