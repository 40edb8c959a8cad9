"""Sharing images by the API: every call, its answers, and what lists show."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from support.service import Reply, Service

pytestmark = pytest.mark.asyncio

NOWHERE = "00000000-0000-4000-8000-000000000000"
MEMBER = {"member_id", "image_id", "status", "created_at", "updated_at", "schema"}
V2_1 = "application/openstack-images-v2.1-json-patch"


async def ask(
    service: Service, method: str, path: str, body: object = b"", caller: str = "alice"
) -> Reply:
    """Call with a body in JSON."""
    headers = {"content-type": "application/json"} if body != b"" else {}
    return await service.call(method, path, body, caller=caller, headers=headers)


async def shared_image(service: Service, status: str = "pending", **attributes: object) -> str:
    """An image of p1 that is shared with p2, and what p2 has answered."""
    image_id = await service.create(name="shared", **attributes)
    await add(service, image_id, "p2")
    if status != "pending":
        path = f"/v2/images/{image_id}/members/p2"
        assert (await ask(service, "PUT", path, {"status": status}, "bob")).status == 200
    return image_id


async def add(service: Service, image_id: str, member_id: str) -> Mapping[str, Any]:
    """Share an image of p1 with a project."""
    path = f"/v2/images/{image_id}/members"
    reply = await service.call("POST", path, {"member": member_id})
    assert reply.status == 200, reply.text
    member: Mapping[str, Any] = reply.json()
    return member


async def see_as(service: Service, image_id: str, visibility: str) -> None:
    """Patch the visibility."""
    patch = [{"op": "replace", "path": "/visibility", "value": visibility}]
    headers = {"content-type": V2_1}
    reply = await service.call("PATCH", f"/v2/images/{image_id}", patch, headers=headers)
    assert reply.status == 200, reply.text


async def names(service: Service, query: str, caller: str = "bob") -> list[str]:
    """What the caller lists."""
    reply = await service.call("GET", f"/v2/images?sort=name:asc&{query}", caller=caller)
    assert reply.status == 200, reply.text
    return [image["name"] for image in reply.json()["images"]]


async def test_the_life_of_a_member(service: Service) -> None:
    """It is added, answers, is listed and shown, and is removed."""
    image_id = await service.create()
    members, one = f"/v2/images/{image_id}/members", f"/v2/images/{image_id}/members/p2"
    assert (await service.call("GET", members)).json() == {
        "members": [],
        "schema": "/v2/schemas/members",
    }
    member = await add(service, image_id, "p2")
    assert member.keys() == MEMBER
    assert (member["member_id"], member["image_id"]) == ("p2", image_id)
    assert (member["status"], member["schema"]) == ("pending", "/v2/schemas/member")
    assert member["created_at"] == member["updated_at"]
    assert (await service.call("GET", one)).json() == member

    reply = await ask(service, "PUT", one, {"status": "accepted"}, "bob")
    assert reply.status == 200
    assert reply.json() == {
        **member,
        "status": "accepted",
        "updated_at": reply.json()["updated_at"],
    }
    await add(service, image_id, "a")
    listed = (await service.call("GET", members)).json()["members"]
    assert [(one["member_id"], one["status"]) for one in listed] == [
        ("a", "pending"),
        ("p2", "accepted"),
    ]
    reply = await service.call("DELETE", one)
    assert (reply.status, reply.body) == (204, b"")
    assert (await service.call("DELETE", one)).status == 404
    assert (await service.call("GET", f"/v2/images/{image_id}", caller="bob")).status == 404


#: By caller: POST, GET all, GET one, PUT, DELETE, of an image of p1 that is shared with p2.
RIGHTS = {
    "root": (200, 200, 200, 200, 204),
    "alice": (200, 200, 200, 403, 204),
    "carol": (403, 200, 200, 403, 403),
    "bob": (403, 200, 200, 200, 403),
    "rob": (403, 200, 200, 403, 403),
}
CALLS = (("POST", ""), ("GET", ""), ("GET", "/p2"), ("PUT", "/p2"), ("DELETE", "/p2"))
BODIES = {"POST": {"member": "p3"}, "PUT": {"status": "rejected"}}


@pytest.mark.parametrize("caller", RIGHTS)
@pytest.mark.parametrize("number", range(len(CALLS)))
async def test_who_may_call_what(service: Service, caller: str, number: int) -> None:
    """Each cell gives the answer of the rules, and what is refused changes nothing."""
    image_id = await shared_image(service)
    before = service.image(image_id)
    method, path = CALLS[number]
    path = f"/v2/images/{image_id}/members{path}"
    reply = await ask(service, method, path, BODIES.get(method, b""), caller)

    assert reply.status == RIGHTS[caller][number], reply.text
    assert (service.image(image_id) == before) is (reply.status >= 400 or method == "GET")


@pytest.mark.parametrize("number", range(len(CALLS)))
@pytest.mark.parametrize("image", ["unknown", "deleted", "no member"])
async def test_images_that_the_caller_does_not_see(
    service: Service, number: int, image: str
) -> None:
    """They are not found, whatever the call."""
    image_id = NOWHERE if image == "unknown" else await shared_image(service)
    if image == "deleted":
        await service.call("DELETE", f"/v2/images/{image_id}")
    if image == "no member":
        await service.call("DELETE", f"/v2/images/{image_id}/members/p2")
    method, path = CALLS[number]
    path = f"/v2/images/{image_id}/members{path}"

    reply = await ask(service, method, path, BODIES.get(method, b""), "bob")
    assert reply.status == 404, reply.text


@pytest.mark.parametrize("caller", ["root", "alice", "bob"])
async def test_a_member_that_is_not_there(service: Service, caller: str) -> None:
    """For a member that is any other member too."""
    image_id = await shared_image(service)
    await add(service, image_id, "p3")
    path = f"/v2/images/{image_id}/members/{'p3' if caller == 'bob' else 'p9'}"

    for method, body in (("GET", b""), ("PUT", {"status": "accepted"}), ("DELETE", b"")):
        assert (await ask(service, method, path, body, caller)).status == 404


@pytest.mark.parametrize("visibility", ["private", "community"])
async def test_an_image_that_is_not_shared_any_more(service: Service, visibility: str) -> None:
    """Its members have no effect and cannot be changed, and are as before when it is shared."""
    image_id = await shared_image(service, "accepted")
    await see_as(service, image_id, visibility)
    path = f"/v2/images/{image_id}/members"
    sees = visibility == "community"

    assert (await service.call("GET", f"/v2/images/{image_id}", caller="bob")).status == (
        200 if sees else 404
    )
    assert await names(service, "visibility=all&member_status=all") == ["shared"] * sees
    for method, more, status in zip(
        ("POST", "GET", "GET", "PUT", "DELETE"),
        ("", "", "/p2", "/p2", "/p2"),
        (403, 403, 404, 403, 403),
        strict=True,
    ):
        for caller in ("alice", "root"):
            reply = await ask(service, method, f"{path}{more}", BODIES.get(method, b""), caller)
            assert reply.status == status, reply.text
        reply = await ask(service, method, f"{path}{more}", BODIES.get(method, b""), "bob")
        assert reply.status == (status if sees else 404), reply.text

    await see_as(service, image_id, "shared")
    assert await names(service, "") == ["shared"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "needs the field 'member'"),
        ({"status": "accepted"}, "needs the field 'member'"),
        ({"member": None}, "must be a string"),
        ({"member": 5}, "must be a string"),
        ({"member": ["p2"]}, "must be a string"),
        ({"member": ""}, "1 to 255 characters"),
        ({"member": "p" * 256}, "1 to 255 characters"),
        ({"member": "p\u0000"}, "'/' or unprintable"),
        ({"member": "a/b"}, "'/' or unprintable"),
        (["p2"], "must be a JSON object with the field 'member'"),
        (b"{", "JSON"),
    ],
)
async def test_bodies_that_add_no_member(service: Service, body: Any, says: str) -> None:
    """Each error says what is wrong with which field."""
    image_id = await service.create()
    reply = await service.call("POST", f"/v2/images/{image_id}/members", body)

    assert (reply.status, says in reply.text) == (400, True), reply.text
    assert service.image(image_id).members == {}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "needs the field 'status'"),
        ({"status": None}, "one of pending, accepted, rejected"),
        ({"status": "all"}, "one of pending, accepted, rejected"),
        ({"status": ["accepted"]}, "one of pending, accepted, rejected"),
        (["accepted"], "must be a JSON object with the field 'status'"),
    ],
)
async def test_bodies_that_are_no_answer(service: Service, body: Any, says: str) -> None:
    """Each error says what is possible."""
    image_id = await shared_image(service)
    path = f"/v2/images/{image_id}/members/p2"
    reply = await ask(service, "PUT", path, body, "bob")

    assert (reply.status, says in reply.text) == (400, True), reply.text


async def test_a_member_twice(service: Service) -> None:
    """The second time is a conflict; other fields of the body are ignored."""
    image_id = await shared_image(service, "accepted")
    path = f"/v2/images/{image_id}/members"
    again = await service.call("POST", path, {"member": "p2", "status": "accepted"})
    other = await service.call("POST", path, {"member": "p3", "status": "accepted", "x": 1})

    assert (again.status, other.status) == (409, 200)
    assert other.json()["status"] == "pending"


async def test_conditional_changes_of_members(service: Service) -> None:
    """The ETag of the image stands for its members: of several changes of one state one is made."""
    image_id = await service.create()
    path = f"/v2/images/{image_id}"

    async def changed(method: str, more: str, bodies: Sequence[object], caller: str) -> list[int]:
        etag = (await service.call("GET", path, caller=caller)).headers["etag"]
        headers = {"if-match": etag, "content-type": "application/json"}
        replies = await asyncio.gather(
            *[
                service.call(method, f"{path}/members{more}", body, caller=caller, headers=headers)
                for body in bodies
            ]
        )
        return sorted(reply.status for reply in replies)

    assert await changed("POST", "", [{"member": "p2"}, {"member": "p3"}], "alice") == [200, 412]
    if "p2" not in service.image(image_id).members:
        await add(service, image_id, "p2")
    answers = [{"status": "accepted"}, {"status": "rejected"}]
    assert await changed("PUT", "/p2", answers, "bob") == [200, 412]
    assert await changed("DELETE", "/p2", [b"", b""], "alice") == [204, 412]


async def test_as_many_members_as_configured(service: Service) -> None:
    """One more is refused with both numbers; a lower limit removes none."""
    image_id = await service.create()
    service.members.settings = replace(service.members.settings, max_members=2)
    await add(service, image_id, "p2")
    await add(service, image_id, "p3")
    path = f"/v2/images/{image_id}/members"
    reply = await service.call("POST", path, {"member": "p4"})
    assert reply.status == 413
    assert "shared with 2 projects, and can be shared with 2 at most" in reply.text

    service.members.settings = replace(service.members.settings, max_members=1)
    assert len((await service.call("GET", path)).json()["members"]) == 2
    service.members.settings = replace(service.members.settings, max_members=None)
    await add(service, image_id, "p4")


@pytest.mark.parametrize("status", ["pending", "accepted", "rejected"])
async def test_what_a_member_may_do(service: Service, status: str) -> None:
    """Whatever its answer, it sees the image, its data and its history; it changes nothing."""
    image_id = await service.create_active(b"hello", name="shared")
    await add(service, image_id, "p2")
    path = f"/v2/images/{image_id}"
    await ask(service, "PUT", f"{path}/members/p2", {"status": status}, "bob")

    image = await service.call("GET", path, caller="bob")
    assert (image.status, image.json()["owner"]) == (200, "p1")
    assert (await service.call("GET", f"{path}/file", caller="bob")).body == b"hello"
    history = (await service.call("GET", f"{path}/history", caller="bob")).json()["history"]
    assert [one["action"] for one in history] == ["created", "upload_started", "uploaded"]
    assert {tuple(one) for one in history} == {("at", "action", "details")}
    for method, more in (("DELETE", ""), ("PUT", "/tags/t"), ("POST", "/actions/deactivate")):
        assert (await service.call(method, f"{path}{more}", caller="bob")).status == 403


@pytest.mark.parametrize("type_name", ["clone", "export"])
async def test_tasks_of_members(service: Service, type_name: str) -> None:
    """A member may copy a shared image, but not once it is shared with it no longer."""
    image_id = await service.create_active(b"hello")
    await add(service, image_id, "p2")
    fields = {"clone": {"store": "near"}, "export": {"export_to": "archive", "file_name": "x.raw"}}[
        type_name
    ]
    fields = {"image_id": image_id, **fields}
    task = await service.do_task(type_name, "bob", **fields)
    assert task["status"] == "success", task

    await service.call("DELETE", f"/v2/images/{image_id}/members/p2")
    body = {"type": type_name, "input": fields}
    assert (await service.call("POST", "/v2/tasks", body, caller="bob")).status == 404


#: By the query of a member, the names of listed images: one image is shared in each way.
LISTS: Mapping[str, set[str]] = {
    "": {"accepted", "mine", "mine-shared", "public"},
    "member_status=accepted": {"accepted", "mine", "mine-shared", "public"},
    "member_status=pending": {"pending", "mine", "mine-shared", "public"},
    "member_status=rejected": {"rejected", "mine", "mine-shared", "public"},
    "member_status=all": {
        *("accepted", "pending", "rejected"),
        *("mine", "mine-shared", "public"),
    },
    "visibility=shared": {"accepted", "mine-shared"},
    "visibility=shared&member_status=pending": {"pending", "mine-shared"},
    "visibility=shared&member_status=all": {"accepted", "pending", "rejected", "mine-shared"},
    "visibility=shared&member_status=all&owner=p1": {"accepted", "pending", "rejected"},
    "visibility=all": {"accepted", "community", "mine", "mine-shared", "public"},
    "visibility=all&member_status=rejected": {
        *("rejected", "community", "mine", "mine-shared", "public"),
    },
    "visibility=private&member_status=all": {"mine"},
    "visibility=public&member_status=all": {"public"},
    "visibility=community&member_status=rejected": {"community"},
    "member_status=all&name=pending": {"pending"},
    "member_status=pending&tag=t": {"pending"},
    "member_status=pending&owner=p1&colour=red": {"pending"},
}


async def one_of_each(service: Service) -> None:
    """An image of each visibility and answer, seen from p2."""
    for status in ("pending", "accepted", "rejected"):
        image_id = await service.create(name=status, tags=["t"], colour="red")
        await add(service, image_id, "p2")
        path = f"/v2/images/{image_id}/members/p2"
        await ask(service, "PUT", path, {"status": status}, "bob")
    await service.create(name="theirs", visibility="shared")
    await service.create(name="hidden-theirs", visibility="private")
    await service.create(name="community", visibility="community")
    await service.create("root", name="public", visibility="public")
    await service.create("bob", name="mine", visibility="private")
    await service.create("bob", name="mine-shared")


@pytest.mark.parametrize("query", LISTS)
async def test_what_a_member_lists(service: Service, query: str) -> None:
    """Its own images, public ones, and those shared with it to which it gave this answer."""
    await one_of_each(service)

    assert set(await names(service, query)) == LISTS[query]
    assert set(await names(service, query, "rob")) == LISTS[query]


@pytest.mark.parametrize("query", LISTS)
async def test_answers_of_members_are_no_filter_for_others(service: Service, query: str) -> None:
    """The owner and administrators list the same images whatever members have answered."""
    await one_of_each(service)
    plain = "&".join(part for part in query.split("&") if not part.startswith("member_status"))

    for caller in ("alice", "root"):
        assert await names(service, query, caller) == await names(service, plain, caller)


@pytest.mark.parametrize("status", ["", "bogus", "ACCEPTED"])
async def test_an_answer_that_is_none(service: Service, status: str) -> None:
    """The error names what is possible."""
    reply = await service.call("GET", f"/v2/images?member_status={status}")

    assert reply.status == 400
    assert "pending, accepted, rejected, all" in reply.text


async def test_pages_of_shared_images(service: Service) -> None:
    """Links keep the filter, and a marker may be an image that the default list omits."""
    ids = [await shared_image(service) for _ in range(3)]
    path: str | None = "/v2/images?member_status=pending&limit=2&sort=created_at:asc"
    found = []
    while path is not None:
        page = (await service.call("GET", path, caller="bob")).json()
        found += [image["id"] for image in page["images"]]
        path = page.get("next")

    assert found == ids


@pytest.mark.parametrize("name", ["member", "members"])
async def test_schemas(service: Service, name: str) -> None:
    """Both name every field of a member."""
    schema = (await service.call("GET", f"/v2/schemas/{name}", caller="bob")).json()
    assert schema["name"] == name
    properties = schema["properties"]
    if name == "members":
        assert properties.keys() == {"members", "schema"}
        properties = properties["members"]["items"]["properties"]
    assert properties.keys() == MEMBER
    assert properties["status"]["enum"] == ["pending", "accepted", "rejected"]
