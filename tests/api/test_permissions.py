"""Permissions: every combination of caller, operation and visibility."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest

from imaged.api.images import V2_1
from imaged.core.image import Visibility
from support.service import OCTETS, PEOPLE, Service

pytestmark = pytest.mark.asyncio

ID = "00000000-0000-4000-8000-00000000000a"

#: Method, path behind the image, body, media type, and whether it needs an image with data.
OPERATIONS: Mapping[str, tuple[str, str, bytes, str, bool]] = {
    "show": ("GET", "", b"", "", False),
    "rename": ("PATCH", "", b'[{"op":"add","path":"/name","value":"n"}]', V2_1, False),
    "publish": (
        "PATCH",
        "",
        b'[{"op":"add","path":"/visibility","value":"public"}]',
        V2_1,
        False,
    ),
    "give away": ("PATCH", "", b'[{"op":"add","path":"/owner","value":"p9"}]', V2_1, False),
    "delete": ("DELETE", "", b"", "", False),
    "upload": ("PUT", "/file", b"hello", OCTETS, False),
    "download": ("GET", "/file", b"", "", True),
    "download deactivated": ("GET", "/file", b"", "", True),
    "deactivate": ("POST", "/actions/deactivate", b"", "", True),
    "reactivate": ("POST", "/actions/reactivate", b"", "", True),
    "tag": ("PUT", "/tags/x", b"", "", False),
    "untag": ("DELETE", "/tags/t", b"", "", False),
}
READING = {"show", "download", "download deactivated"}
ADMINS_ONLY = {"publish", "give away"}
DONE = {"show": 200, "rename": 200, "publish": 200, "give away": 200, "download": 200}

CELLS = list(product(PEOPLE, OPERATIONS, Visibility, ("p1", "p2")))


def expected(person: str, operation: str, visibility: Visibility, owner: str) -> int:
    """The rules once more, in other words than the code has them."""
    project, role = PEOPLE[person]
    is_open = visibility in {Visibility.PUBLIC, Visibility.COMMUNITY}
    if role == "visitor":  # no role that is known here: nothing is said about any image
        return 403
    if role != "admin":
        if project != owner and not is_open:
            return 404
        is_forbidden = (
            operation in ADMINS_ONLY | {"download deactivated"}
            or (operation != "show" and role != "member")
            or (operation not in READING and project != owner)
        )
        if is_forbidden:
            return 403
    return 200 if operation == "download deactivated" else DONE.get(operation, 204)


@pytest.mark.parametrize(("person", "operation", "visibility", "owner"), CELLS)
async def test_cell(person: str, operation: str, visibility: Visibility, owner: str) -> None:
    """Each cell gives the answer of the rules, and what is refused changes nothing."""
    service = await _with_image(operation, visibility, owner)
    before = service.image(ID)
    method, path, body, media_type, _ = OPERATIONS[operation]
    headers = {"content-type": media_type} if media_type else {}
    reply = await service.call(
        method, f"/v2/images/{ID}{path}", body, caller=person, headers=headers
    )
    assert reply.status == expected(person, operation, visibility, owner), reply.text
    if reply.status >= 400 or operation in READING:
        assert service.image(ID) == before


@pytest.mark.parametrize("person", PEOPLE)
async def test_create(service: Service, person: str) -> None:
    """Members and administrators create images; all others read."""
    _, role = PEOPLE[person]
    reply = await service.call("POST", "/v2/images", {}, caller=person)
    assert reply.status == (201 if role in {"member", "admin"} else 403)


@pytest.mark.parametrize("person", sorted(PEOPLE.keys() - {"visitor"}))
@pytest.mark.parametrize("visibility", Visibility)
async def test_list_shows_what_show_shows(
    service: Service, person: str, visibility: Visibility
) -> None:
    """With all visibilities asked for, an image is listed exactly if it can be shown."""
    for owner in ("p1", "p2"):
        image_id = await service.create("root", visibility=visibility, owner=owner)
        listed = await service.call("GET", "/v2/images?visibility=all", caller=person)
        shown = await service.call("GET", f"/v2/images/{image_id}", caller=person)
        ids = {image["id"] for image in listed.json()["images"]}
        assert (image_id in ids) is (shown.status == 200)


async def _with_image(operation: str, visibility: Visibility, owner: str) -> Service:
    service = Service()
    await service.create("root", id=ID, visibility=visibility, owner=owner, tags=["t"])
    if OPERATIONS[operation][-1]:
        await service.put_data(ID, b"hello", "root")
    if operation in {"download deactivated", "reactivate"}:
        await service.call("POST", f"/v2/images/{ID}/actions/deactivate", caller="root")
    return service
