"""Imports into images that their clients made: staging, the import call, and added locations."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from imaged.fetchers.fetch_settings import FetchSettings
from imaged.fetchers.http_fetcher import HttpFetcher
from support import disk_images
from support.service import OCTETS, Reply, Service
from support.settings import configured

pytestmark = pytest.mark.asyncio

URL = "http://images.example/disk"
RAW = disk_images.raw()
UNKNOWN = "00000000-0000-4000-8000-00000000dead"
STAGED = {"method": {"name": "glance-direct"}}
WEB = {"method": {"name": "web-download", "uri": URL}}


async def stage(service: Service, image_id: str, **headers: str) -> Reply:
    """Put data beside an image."""
    path = f"/v2/images/{image_id}/stage"
    return await service.call("PUT", path, RAW, headers={"content-type": OCTETS, **headers})


async def begin(service: Service, image_id: str, body: object, **options: Any) -> Reply:
    """The import call."""
    return await service.call("POST", f"/v2/images/{image_id}/import", body, **options)


async def add(service: Service, image_id: str, body: object, **options: Any) -> Reply:
    """The call that adds a location."""
    return await service.call("POST", f"/v2/images/{image_id}/locations", body, **options)


async def show(service: Service, image_id: str) -> dict[str, Any]:
    """The image."""
    image: dict[str, Any] = (await service.call("GET", f"/v2/images/{image_id}")).json()
    return image


async def task_of(service: Service, image_id: str) -> dict[str, Any]:
    """Its one task."""
    (task,) = (await service.call("GET", f"/v2/images/{image_id}/tasks")).json()["tasks"]
    found: dict[str, Any] = task
    return found


def serve(**options: Any) -> Service:
    """A service, and something to fetch."""
    service = Service(**options)
    service.web.pages[URL] = RAW
    return service


async def test_the_methods_that_there_are(service: Service) -> None:
    """Listed by a call of their own, and in the answer to a creation."""
    told = (await service.call("GET", "/v2/info/import")).json()
    created = await service.call("POST", "/v2/images", {"name": "new"})

    assert told["import-methods"]["value"] == ["glance-direct", "web-download"]
    assert created.headers["openstack-image-import-methods"] == "glance-direct,web-download"


async def test_staged_data_becomes_the_images() -> None:
    """uploading, importing, active; the task is listed with the image."""
    service = serve()
    image_id = await service.create()

    staged = await stage(service, image_id)
    assert (staged.status, (await show(service, image_id))["status"]) == (204, "uploading")
    accepted = await begin(service, image_id, STAGED)
    assert (accepted.status, accepted.body) == (202, b"")
    assert (await show(service, image_id))["status"] == "importing"
    await service.run_tasks()

    image, task = await show(service, image_id), await task_of(service, image_id)
    assert (image["status"], image["size"]) == ("active", len(RAW))
    assert (task["type"], task["status"], task["image_id"]) == (
        "api_image_import",
        "success",
        image_id,
    )
    assert task["input"] == {"image_id": image_id, "import_req": STAGED}
    assert task["request_id"] == accepted.headers["x-openstack-request-id"]


async def test_staged_data_needs_no_uri() -> None:
    """An empty one may be named: gophercloud always does."""
    service = serve()
    image_id = await service.create()
    await stage(service, image_id)
    without = {"method": {**STAGED["method"], "uri": ""}}

    accepted = await begin(service, image_id, without)
    await service.run_tasks()

    assert accepted.status == 202
    assert (await show(service, image_id))["status"] == "active"


async def test_a_signed_uri_is_shown_to_its_project_alone() -> None:
    """In the list of the image's tasks too."""
    service = serve()
    image_id = await service.create(visibility="private")
    signed = {"method": {**WEB["method"], "uri": f"{WEB['method']['uri']}?signature=made-up"}}
    await begin(service, image_id, signed)

    mine = await service.call("GET", f"/v2/images/{image_id}/tasks")
    seen = await service.call("GET", f"/v2/images/{image_id}/tasks", caller="root")

    assert "made-up" in mine.text
    assert (seen.status, "made-up" in seen.text) == (200, False)


async def test_a_download_from_the_web() -> None:
    """Into the store that was named, by the body or by the header."""
    service = serve()
    for named, headers in (({"stores": ["near"]}, {}), ({}, {"x-image-meta-store": "near"})):
        image_id = await service.create()

        accepted = await begin(service, image_id, {**WEB, **named}, headers=headers)
        await service.run_tasks()

        assert accepted.status == 202
        image = await show(service, image_id)
        assert (image["status"], image["stores"]) == ("active", "near")
    assert set(service.web.owners) == {"p1"}


async def test_an_added_location_is_fetched() -> None:
    """And checked; no location of a client's is kept."""
    service = serve()
    image_id = await service.create()
    digest = hashlib.sha512(RAW).hexdigest()
    validation = {"os_hash_algo": "sha512", "os_hash_value": digest}

    accepted = await add(service, image_id, {"url": URL, "validation_data": validation})
    await service.run_tasks()

    image, task = await show(service, image_id), await task_of(service, image_id)
    assert (accepted.status, image["status"], image["stores"]) == (202, "active", "local")
    assert image["os_hash_value"] == digest
    assert (task["type"], task["status"]) == ("location_import", "success")
    assert "locations" not in image
    assert set(service.web.owners) == {"p1"}


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (begin, WEB),
        (add, {"url": URL}),
        (
            add,
            {
                "url": URL,
                "validation_data": {"os_hash_algo": "md5", "os_hash_value": "0" * 32},
            },
        ),
    ],
)
async def test_a_refused_import_leaves_a_queued_image(call: Any, body: dict[str, Any]) -> None:
    """It says why, in the image and in the task, and can be tried again."""
    service = serve()
    if "validation_data" not in body:
        service.web.pages[URL] = disk_images.qcow2(backing_file=b"/etc/passwd")
    image_id = await service.create()
    await call(service, image_id, body)
    await service.run_tasks()

    image, task = await show(service, image_id), await task_of(service, image_id)

    assert (image["status"], image["size"], task["status"]) == ("queued", None, "failure")
    assert task["message"] in image["imaged_last_failure"]
    service.web.pages[URL] = RAW
    assert (await begin(service, image_id, WEB)).status == 202


async def test_other_data_is_staged_instead_on_purpose() -> None:
    """With the header for it."""
    service = serve()
    image_id = await service.create()
    await stage(service, image_id)

    reply = await stage(service, image_id, **{"x-imaged-replace": "true"})

    assert reply.status == 204
    assert (await show(service, image_id))["status"] == "uploading"


@pytest.mark.parametrize("said", ["yes", "1", ""])
async def test_a_replacement_is_said_in_two_words(said: str) -> None:
    """True or false; what else it may mean is not guessed."""
    service = serve()
    image_id = await service.create()

    reply = await stage(service, image_id, **{"x-imaged-replace": said})

    assert reply.status == 400
    assert "X-Imaged-Replace" in reply.text


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "The import's 'method' is missing."),
        ({"method": "glance-direct"}, "'method' must be a JSON object"),
        ({"method": {}}, "'method' must be a JSON object"),
        ({"method": {"name": 1}}, "'method' must be a JSON object"),
        ({"method": {"name": "nope"}}, "There is no import method 'nope'"),
        ({"method": {"name": "copy-image"}}, "There is no import method 'copy-image'"),
        ({"method": {"name": "web-download", "url": URL}}, "has no argument 'url'"),
        ({"method": {"name": "web-download"}}, "needs a 'uri'"),
        ({"method": {"name": "web-download", "uri": 5}}, "needs a 'uri'"),
        ({"method": {"name": "web-download", "uri": "http://inside/"}}, "is not public"),
        ({**WEB, "stores": "near"}, "'stores' must be an array"),
        ({**WEB, "stores": [1]}, "'stores' must be an array"),
        ({**WEB, "stores": ["far"]}, "no store named 'far'"),
        ({**WEB, "stores": ["local", "near"]}, "writes to one store"),
        ({**WEB, "all_stores": True}, "writes to one store"),
        ({**WEB, "all_stores": "yes"}, "must be true or false"),
        ({**WEB, "all_stores": True, "stores": ["near"]}, "not both"),
        ({**WEB, "more": 1}, "'more' of an import is not known"),
        ([], "must be a JSON object"),
    ],
)
async def test_import_calls_that_are_not_understood(body: object, sentence: str) -> None:
    """400, and nothing has changed."""
    service = serve()
    image_id = await service.create()

    reply = await begin(service, image_id, body)

    assert reply.status == 400
    assert sentence in reply.text
    assert (await show(service, image_id))["status"] == "queued"
    assert service.facts.tasks == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 5}, "loc_url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "http://169.254.169.254/x"}, "url"),
        ({"url": URL, "image_id": UNKNOWN}, "image_id"),
        ({"url": URL, "metadata": {}}, "metadata"),
        ({"url": URL, "validation_data": {"os_hash_algo": "md5"}}, "validation_data"),
        ({"url": URL, "validation_data": {"checksum": "0"}}, "validation_data.checksum"),
        ([], ""),
    ],
)
async def test_locations_that_are_not_understood(body: object, field: str) -> None:
    """400, and nothing has changed."""
    service = Service(fetcher=HttpFetcher(configured(FetchSettings)))
    image_id = await service.create()

    reply = await add(service, image_id, body)

    assert (reply.status, f"'{field}'" in reply.text) == (400, bool(field))
    assert service.facts.tasks == {}


async def test_images_that_cannot_be_imported() -> None:
    """In another status, without formats, of another project, or none."""
    service = serve()
    queued = await service.create()
    staged = await service.create()
    await stage(service, staged)
    odd = {"method": {"name": "glance-direct", "uri": URL}}
    assert (await begin(service, staged, odd)).status == 400
    active = await service.create_active()
    bare = await service.create(disk_format=None)
    foreign = await service.create("bob")

    for image_id, body, status in (
        (queued, STAGED, 409),
        (staged, WEB, 409),
        (active, WEB, 409),
        (active, STAGED, 409),
        (bare, WEB, 409),
        (foreign, WEB, 404),
        (UNKNOWN, WEB, 404),
    ):
        assert (await begin(service, image_id, body)).status == status
    assert (await begin(service, queued, WEB, caller="carol")).status == 403
    assert (await add(service, staged, {"url": URL})).status == 409
    assert (await add(service, foreign, {"url": URL})).status == 404
    assert (await add(service, queued, {"url": URL}, caller="carol")).status == 403
    assert service.facts.tasks == {}


async def test_staging_that_is_refused() -> None:
    """Of the wrong media type, in the wrong status, or of the wrong size."""
    service = serve()
    image_id = await service.create()

    wrong = await stage(service, image_id, **{"content-type": "text/plain"})
    short = await stage(service, image_id, **{"x-openstack-image-size": "5"})
    assert (wrong.status, short.status) == (415, 400)
    assert (await stage(service, image_id)).status == 204
    assert (await stage(service, image_id)).status == 409
    assert (await service.put_data(image_id, RAW)).status == 409


async def test_the_internal_types_are_listed_and_not_to_be_asked_for() -> None:
    """They are made by their own calls alone."""
    service = serve()
    image_id = await service.create()
    await begin(service, image_id, WEB)

    listed = (await service.call("GET", "/v2/tasks?type=api_image_import")).json()["tasks"]
    assert [task["image_id"] for task in listed] == [image_id]
    for name in ("api_image_import", "location_import"):
        body = {"type": name, "input": {"image_id": image_id}}
        assert (await service.call("POST", "/v2/tasks", body)).status == 400
