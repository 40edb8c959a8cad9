"""The catalog of services in a token of Keystone: which address is that of the image service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imaged.client.errors import ServiceNotInCatalog, UnexpectedResponse
from imaged.client.keystone_account import KeystoneAccount
from imaged.core.identity import SERVICE_TYPE


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One address of the image service. ``interface``: public, internal or admin."""

    region: str
    interface: str
    url: str


def image_service_url(token: Mapping[str, Any], account: KeystoneAccount) -> str:
    """The address of the image service for an account, by the catalog of its token.

    Unlike other clients, it takes none of several regions by itself: the first one of a list may
    be another one tomorrow. Raises ServiceNotInCatalog, UnexpectedResponse.
    """
    entries = list(_entries(token.get("catalog"), account))
    key = account.source.key
    if not entries:
        raise ServiceNotInCatalog(
            f"{account.place} has no image service in its catalog.",
            f"Set {key('image_endpoint_override')}, or ask the operator to register the service.",
        )
    there = [entry for entry in entries if account.region in {"", entry.region}]
    if not there:
        raise ServiceNotInCatalog(
            f"{account.place} has no image service in the region {account.region}.",
            f"It has some in: {_sorted(entry.region for entry in entries)}. "
            f"Set {key('region_name')} to one of them.",
        )
    found = [entry for entry in there if entry.interface == account.interface]
    if not found:
        raise ServiceNotInCatalog(
            f"{account.place} has no image service with the interface {account.interface}.",
            f"It has: {_sorted(entry.interface for entry in there)}. "
            f"Set {key('interface')} to one of them.",
        )
    regions = _sorted(entry.region for entry in found)
    if len({entry.region for entry in found}) > 1:
        raise ServiceNotInCatalog(
            f"{account.place} has image services in several regions: {regions}.",
            f"Set {key('region_name')} to one of them.",
        )
    return found[0].url


def _entries(catalog: object, account: KeystoneAccount) -> Iterator[CatalogEntry]:
    for service in _tables(catalog, account):
        if service.get("type") == SERVICE_TYPE:
            for one in _tables(service.get("endpoints"), account):
                region = one.get("region_id") or one.get("region") or ""
                yield CatalogEntry(str(region), str(one.get("interface")), str(one.get("url")))


def _tables(listed: object, account: KeystoneAccount) -> list[Mapping[str, Any]]:
    match listed:
        case None:
            return []
        case list() if all(isinstance(one, Mapping) for one in listed):
            return listed
    raise UnexpectedResponse(f"The catalog of {account.place} cannot be read.")


def _sorted(names: Iterator[str]) -> str:
    return ", ".join(sorted(set(names)))
