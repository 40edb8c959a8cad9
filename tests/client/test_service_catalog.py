"""Which address of a catalog is taken."""

from __future__ import annotations

from typing import Any

import pytest

from imaged.client.errors import ServiceNotInCatalog, UnexpectedResponse
from imaged.client.keystone_account import KeystoneAccount, Method, Source
from imaged.client.service_catalog import image_service_url
from imaged.core.secret import Secret

ENDPOINTS = [
    {"region_id": "north", "interface": "public", "url": "http://north"},
    {"region": "north", "interface": "internal", "url": "http://north-internal"},
    {"region_id": "south", "interface": "public", "url": "http://south"},
]
ONLY = ENDPOINTS[:2]


def account(region: str = "", interface: str = "public") -> KeystoneAccount:
    """Somewhere in particular."""
    return KeystoneAccount(
        method=Method.PASSWORD,
        auth={"auth_url": "http://k:5000/v3"},
        secret=Secret("made-up"),
        region=region,
        interface=interface,
        source=Source("The environment", lambda key: f"OS_{key.upper()}"),
    )


def token(endpoints: object, service: str = "image") -> dict[str, Any]:
    """A token with a catalog of one service beside Keystone."""
    return {
        "catalog": [
            {"type": "identity", "endpoints": [{"interface": "public", "url": "http://k"}]},
            {"type": service, "endpoints": endpoints},
        ]
    }


@pytest.mark.parametrize(
    ("endpoints", "region", "interface", "url"),
    [
        (ONLY, "", "public", "http://north"),
        (ONLY, "", "internal", "http://north-internal"),
        (ENDPOINTS, "south", "public", "http://south"),
        (ENDPOINTS, "north", "internal", "http://north-internal"),
        (ENDPOINTS, "", "internal", "http://north-internal"),
    ],
)
def test_the_only_address_that_fits(
    endpoints: object, region: str, interface: str, url: str
) -> None:
    """By type, region and interface."""
    assert image_service_url(token(endpoints), account(region, interface)) == url


@pytest.mark.parametrize(
    ("found", "region", "interface", "said", "remedy"),
    [
        ({}, "", "public", "has no image service in its catalog",
         "Set OS_IMAGE_ENDPOINT_OVERRIDE"),
        (token(ONLY, "volume"), "", "public", "has no image service in its catalog", "ask the"),
        (token([]), "", "public", "has no image service in its catalog", "Set OS_"),
        (token(ENDPOINTS), "", "public", "in several regions: north, south",
         "Set OS_REGION_NAME to one of them"),
        (token(ENDPOINTS), "west", "public", "no image service in the region west",
         "It has some in: north, south. Set OS_REGION_NAME"),
        (token(ENDPOINTS), "south", "admin", "with the interface admin",
         "It has: public. Set OS_INTERFACE"),
    ],
)  # fmt: skip
def test_no_address_or_several(
    found: dict[str, Any], region: str, interface: str, said: str, remedy: str
) -> None:
    """The error has what there is, and the setting that chooses; the first is never guessed."""
    with pytest.raises(ServiceNotInCatalog, match=said) as refused:
        image_service_url(found, account(region, interface))

    assert remedy in refused.value.remedy


@pytest.mark.parametrize("found", [{"catalog": "x"}, {"catalog": ["x"]}, token({"a": 1})])
def test_a_strange_catalog_is_none(found: dict[str, Any]) -> None:
    """An error of the client, and no other."""
    with pytest.raises(UnexpectedResponse, match="catalog of Keystone at k:5000"):
        image_service_url(found, account())
