"""The versions of the API; the stores, what each caller may know of them; uploads that name one."""

from __future__ import annotations

from importlib.metadata import version as installed_version

import pytest

from imaged.testing.memory_store import MemoryStore
from support.service import OCTETS, PEOPLE, Reply, Service

pytestmark = pytest.mark.asyncio

LIST = "/v2/info/stores"
DETAIL = "/v2/info/stores/detail"


async def upload(service: Service, image_id: str, store: str | None) -> Reply:
    """Put data, and say where."""
    headers = {"content-type": OCTETS} | ({} if store is None else {"x-image-meta-store": store})
    return await service.call("PUT", f"/v2/images/{image_id}/file", b"hello", headers=headers)


def held(service: Service) -> dict[str, int]:
    """How many blobs each store has."""
    stores = service.stores.by_name
    return {
        name: len(store.blobs) for name, store in stores.items() if isinstance(store, MemoryStore)
    }


@pytest.mark.parametrize("person", sorted(PEOPLE.keys() - {"visitor"}))
async def test_everybody_may_know_the_names(service: Service, person: str) -> None:
    """In the order of the configuration, with one default, in words that clients understand."""
    reply = await service.call("GET", LIST, caller=person)

    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == {
        "stores": [
            {"id": "local", "default": "true"},
            {"id": "near", "description": "beside the machines"},
        ]
    }


@pytest.mark.parametrize("person", PEOPLE)
async def test_only_administrators_may_know_the_rest(service: Service, person: str) -> None:
    """What kind of store it is, and where."""
    reply = await service.call("GET", DETAIL, caller=person)

    if PEOPLE[person][1] != "admin":
        assert reply.status == 403
        return
    assert reply.status == 200
    assert reply.json() == {
        "stores": [
            {
                "id": "local",
                "default": "true",
                "type": "file",
                "properties": {"data_dir": "/srv/images"},
                "weight": 0,
            },
            {
                "id": "near",
                "description": "beside the machines",
                "type": "s3",
                "properties": {},
                "weight": 0,
            },
        ]
    }


async def test_a_new_image_is_told_where_its_data_may_go(service: Service) -> None:
    """In a header, as clients expect it."""
    reply = await service.call("POST", "/v2/images", {"name": "new"})

    assert reply.headers["openstack-image-store-ids"] == "local,near"


@pytest.mark.parametrize(("named", "kept"), [(None, "local"), ("local", "local"), ("near", "near")])
async def test_an_upload_goes_where_it_wants(
    service: Service, named: str | None, kept: str
) -> None:
    """Or to the default store; it is read, and at last deleted, from there."""
    image_id = await service.create()

    assert (await upload(service, image_id, named)).status == 204

    shown = await service.call("GET", f"/v2/images/{image_id}")
    read = await service.call("GET", f"/v2/images/{image_id}/file")
    assert shown.json()["stores"] == kept
    assert read.body == b"hello"
    assert held(service) == {"local": 0, "near": 0} | {kept: 1}


@pytest.mark.parametrize("named", ["far", "", "Near", "local,near"])
async def test_a_store_that_is_not_there_is_refused(service: Service, named: str) -> None:
    """Before anything is claimed: the image can be uploaded at once."""
    image_id = await service.create()

    refused = await upload(service, image_id, named)

    assert refused.status == 400
    assert service.image(image_id).status == "queued"
    assert (await upload(service, image_id, "near")).status == 204


async def test_each_version_has_a_link_that_answers_without_a_token(service: Service) -> None:
    """The list is the same behind each link."""
    listed = (await service.call("GET", "/versions", caller=None)).json()

    for version in listed["versions"]:
        path = version["links"][0]["href"].removeprefix("http://images.test")
        reply = await service.call("GET", path, caller=None)
        assert (reply.status, reply.json()) == (200, listed)


async def test_a_browser_gets_a_page(service: Service) -> None:
    """It says that the service runs, in which version, and where to go on."""
    headers = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    reply = await service.call("GET", "/", headers=headers, caller=None)

    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert reply.headers["vary"] == "Accept"
    page = reply.body.decode()
    for part in (
        f"imaged {installed_version('imaged')} is running",
        "/versions",
        "http://images.test",
    ):
        assert part in page


async def test_the_page_has_no_markup_of_its_caller() -> None:
    """A public URL with characters of HTML stays text."""
    service = Service(public_url="http://a.test/<b>")
    reply = await service.call("GET", "/", headers={"accept": "text/html"}, caller=None)

    assert "http://a.test/&lt;b&gt;" in reply.body.decode()


@pytest.mark.parametrize("path", ["/images", "/v1/images", "/v3/", "/favicon.ico", "/v2.99/images"])
async def test_outside_the_versions_is_nothing(service: Service, path: str) -> None:
    """The sentence tells where the API is."""
    reply = await service.call("GET", path, caller=None)

    assert reply.status == 404
    assert "The Image API is below /v2/" in reply.json()["message"]
