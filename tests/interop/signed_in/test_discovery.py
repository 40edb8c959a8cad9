"""keystoneauth, by which most clients find the service and its versions, in a real catalogue."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Mapping, Sequence
from uuid import uuid4

import pytest
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity import V3Password
from keystoneauth1.session import Session

from imaged.api.versions import announced_versions
from references.calls import CALLS
from support.cloud import Cloud

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

#: What operators register; Glance's own instructions have had several of these.
PATHS = ("", "/", "/v2", "/v2/")

LATEST = (2, 15)

#: From and to which version a client asks, and which it gets: the highest between them, if any.
#: 2.2 and 2.8 to 2.11 are versions whose calls are not there.
RANGES: Mapping[tuple[str | None, str | None], tuple[int, int] | None] = {
    (None, None): LATEST,
    ("2", None): LATEST,
    ("2", "2.latest"): LATEST,
    ("2.latest", None): LATEST,
    ("1", "2.latest"): LATEST,
    ("2.0", "2.5"): (2, 5),
    ("2.5", "2.7"): (2, 7),
    ("2.5", "2.9"): (2, 7),
    ("2.2", "2.2"): None,
    ("2.8", "2.11"): None,
    ("2.99", None): None,
    ("1", "1.latest"): None,
    ("3", None): None,
    (None, "2.latest"): None,  # not what it documents: without a lowest, it compares nothing
}


async def test_every_address_in_the_catalogue_leads_to_every_version(cloud: Cloud) -> None:
    """With and without a version in it; the address of a version is good for calls."""
    assert await to_thread(announced, cloud) == [
        (2, int(name.removeprefix("v2.")))
        for name in reversed(announced_versions(f"{method} {path}" for method, path in CALLS))
    ]
    for path in PATHS:
        found = await to_thread(versions_of, cloud, path)
        assert found == RANGES, path


def session(cloud: Cloud) -> Session:
    """Someone who signs in; each remembers what it has discovered."""
    user = cloud.member
    return Session(
        V3Password(
            cloud.keystone.url, username=user.name, password=user.password,
            user_domain_id=user.domain, project_id=user.project,
        )
    )  # fmt: skip


def announced(cloud: Cloud) -> Sequence[tuple[int, int]]:
    """The versions that keystoneauth reads from the list of the service."""
    told = session(cloud).get_all_version_data(service_type="image", region_name=cloud.region)
    versions = [one["version"].split(".") for one in told[cloud.region]["public"]["image"]]
    return [(int(major), int(minor)) for major, minor in versions]


def versions_of(cloud: Cloud, path: str) -> Mapping[tuple[str | None, str | None], object]:
    """What is found for each range, if the catalogue has the address with this path."""
    region = uuid4().hex
    cloud.keystone.create_service("image", cloud.daemon.url + path, region)
    found: dict[tuple[str | None, str | None], object] = {}
    for lowest, highest in RANGES:
        client = Adapter(
            session(cloud), "image", region_name=region,
            min_version=lowest, max_version=highest,
        )  # fmt: skip
        data = client.get_endpoint_data()
        found[lowest, highest] = data and data.api_version
        if data:
            assert data.url == f"{cloud.daemon.url}/v2/"
            assert client.get(f"{data.url}images").json()["images"] == []
    return found
