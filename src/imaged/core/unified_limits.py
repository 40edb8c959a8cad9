"""Unified limits: what Keystone's documents say of the limits of a project.

The documents are those of the Identity API v3, "Unified Limits" and "Validate and show information
for token". Sizes are in MiB there, and -1 is unlimited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from imaged.core.limits import MIB
from imaged.core.quota import SIZES, UNIFIED_LIMIT_NAMES, Limits, Resource

UNLIMITED_NUMBER = -1
SERVICE_TYPE = "image"


class LimitsDocumentInvalid(ValueError):
    """The document is not one of limits. The text names the field."""


def parse_service_id(document: Mapping[str, Any]) -> str | None:
    """The id of the image service in the catalog of a token; None if it is not in there."""
    token = document.get("token")
    catalog = token.get("catalog") if isinstance(token, Mapping) else None
    for service in catalog if isinstance(catalog, list) else ():
        if isinstance(service, Mapping) and service.get("type") == SERVICE_TYPE:
            return str(service.get("id"))
    return None


def parse_registered_limits(document: Mapping[str, Any], region: str) -> Limits:
    """The limits that hold for projects without their own. Raises LimitsDocumentInvalid."""
    return _parse(document, "registered_limits", "default_limit", region)


def parse_project_limits(document: Mapping[str, Any], region: str) -> Limits:
    """The limits of a project's own; none if the list is empty. Raises LimitsDocumentInvalid."""
    return _parse(document, "limits", "resource_limit", region)


def _parse(document: Mapping[str, Any], list_name: str, number_name: str, region: str) -> Limits:
    """The limits in a list. One of the region precedes one without a region; those of other regions
    are left out.
    """
    found = document.get(list_name)
    if not isinstance(found, list):
        raise LimitsDocumentInvalid(f"has no list {list_name!r}")
    return {
        **dict(_numbers(found, number_name, None)),
        **(dict(_numbers(found, number_name, region)) if region else {}),
    }


def _numbers(
    found: list[Any], number_name: str, region: str | None
) -> Iterator[tuple[Resource, int | None]]:
    resources = {name: resource for resource, name in UNIFIED_LIMIT_NAMES.items()}
    for one in found:
        if not isinstance(one, Mapping) or one.get("region_id") != region:
            continue
        resource, number = resources.get(str(one.get("resource_name"))), one.get(number_name)
        if resource is None:
            continue
        if type(number) is not int or number < UNLIMITED_NUMBER:
            raise LimitsDocumentInvalid(f"has a limit without a number as {number_name!r}")
        yield resource, _in_our_unit(resource, number)


def _in_our_unit(resource: Resource, number: int) -> int | None:
    if number == UNLIMITED_NUMBER:
        return None
    return number * MIB if resource in SIZES else number
