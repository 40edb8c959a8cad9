"""What Glance 33 was seen to answer, as facts: status, headers and names of JSON fields.

``{name}`` in a path stands for the id of an image; ``IMAGES`` says what each of them is like.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from imaged.api.images import V2_0, V2_1
from imaged.core.image_schema import DEFAULT_PROPERTIES
from imaged.core.lifecycle import Status
from support.service import OCTETS, Service

pytestmark = pytest.mark.asyncio

OWN_ID = "aaaaaaaa-0000-4000-8000-000000000001"
UNKNOWN_ID = "00000000-0000-4000-8000-00000000dead"

ATTRIBUTES = [
    *("name", "disk_format", "container_format", "visibility", "size", "virtual_size", "status"),
    *("checksum", "protected", "min_ram", "min_disk", "owner", "os_hidden", "os_hash_algo"),
    *("os_hash_value", "id", "created_at", "updated_at", "tags", "self", "file", "schema"),
]
IMAGE_KEYS = set(ATTRIBUTES)
ACTIVE_KEYS = IMAGE_KEYS | {"stores"}
LIST_KEYS = {"images", "first", "schema"}


async def _taken(service: Service) -> str:
    return await service.create(id=OWN_ID)


async def _bare(service: Service) -> str:
    return await service.create(disk_format=None, container_format=None)


async def _deactivated(service: Service) -> str:
    image_id = await service.create_active()
    await service.call("POST", f"/v2/images/{image_id}/actions/deactivate", caller="root")
    return image_id


async def _deleted(service: Service) -> str:
    image_id = await service.create_active()
    await service.call("DELETE", f"/v2/images/{image_id}")
    return image_id


Maker = Callable[[Service], Awaitable[str]]
IMAGES: Mapping[str, Maker] = {
    "queued": lambda service: service.create(name="img", tags=["t1", "t2"], custom="v"),
    "taken": _taken,
    "bare": _bare,
    "qcow2": lambda service: service.create(disk_format="qcow2"),
    "private": lambda service: service.create(visibility="private"),
    "active": lambda service: service.create_active(b"hello"),
    "empty": lambda service: service.create_active(b""),
    "protected": lambda service: service.create(protected=True),
    "deactivated": _deactivated,
    "deleted": _deleted,
}


@dataclass
class Exchange:
    """A request, and what is known of its answer."""

    name: str
    request: str  # method and path
    status: int
    body: object = b""
    media_type: str | None = None
    caller: str | None = "alice"
    sent: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str | None] = field(default_factory=dict)  # None: whatever it says
    keys: set[str] = field(default_factory=set)
    text: bytes | None = None


def patch(name: str, image: str, status: int, steps: object, **facts: Any) -> Exchange:
    """A patch of media type v2.1."""
    facts.setdefault("media_type", V2_1)
    return Exchange(name, f"PATCH /v2/images/{{{image}}}", status, steps, **facts)


def put(name: str, image: str, status: int, data: bytes = b"hello", **facts: Any) -> Exchange:
    """An upload."""
    facts.setdefault("media_type", OCTETS)
    return Exchange(name, f"PUT /v2/images/{{{image}}}/file", status, data, **facts)


def get(name: str, path: str, status: int, **facts: Any) -> Exchange:
    """Reading."""
    return Exchange(name, f"GET {path}", status, **facts)


def create(name: str, status: int, body: object, **facts: Any) -> Exchange:
    """A new image."""
    facts.setdefault("media_type", "application/json")
    return Exchange(name, "POST /v2/images", status, body, **facts)


def change(op: str, path: str, value: object = None) -> list[dict[str, object]]:
    """A patch of one step."""
    step: dict[str, object] = {"op": op, "path": path}
    return [step if value is None else {**step, "value": value}]


def data_headers(length: int) -> dict[str, str | None]:
    """What comes with the data 'hello'."""
    return {
        "content-type": OCTETS,
        "content-length": str(length),
        "content-md5": "5d41402abc4b2a76b9719d911017c592",
    }


VERSIONS = [
    get("root", "/", 300, keys={"versions"}),
    get("versions", "/versions", 200, keys={"versions"}),
    get("versions without a token", "/versions", 200, keys={"versions"}, caller=None),
    get("no version", "/images", 404, caller=None),
    get("v1", "/v1/images", 404, caller=None),
    get("v3", "/v3/images", 404, caller=None),
    get("v2", "/v2", 302, headers={"location": "http://images.test/v2/"}),
    get("v2 and a slash", "/v2/", 200, keys={"versions"}, caller=None),
    get("a minor version and a slash", "/v2.3/", 200, keys={"versions"}, caller=None),
    get("a minor version", "/v2.3/images", 200, keys=LIST_KEYS),
    get(
        "version in Accept",
        "/images",
        200,
        sent={"accept": "application/vnd.openstack.images-v2"},
        keys=LIST_KEYS,
    ),
    get("health", "/healthcheck", 200, caller=None, text=b"OK"),
    get("no token", "/v2/images", 401, caller=None, headers={"www-authenticate": None}),
    get("unknown path", "/v2/nope", 404),
]

SCHEMAS = [
    get("schema image", "/v2/schemas/image", 200, keys={"name", "properties", "links"}),
    get("schema images", "/v2/schemas/images", 200, keys={"name", "properties", "links"}),
    get("schema unknown", "/v2/schemas/nope", 404),
]

CREATE = [
    create("minimal", 201, {}, keys=IMAGE_KEYS, headers={"location": None}),
    create(
        "full",
        201,
        {
            "name": "img",
            "disk_format": "qcow2",
            "container_format": "bare",
            "min_ram": 1,
            "min_disk": 2,
            "tags": ["t1", "t2"],
            "visibility": "private",
            "os_distro": "debian",
            "custom": "v",
        },
        keys=IMAGE_KEYS | {"os_distro", "custom"},
    ),
    create(
        "own id",
        201,
        {"id": OWN_ID},
        keys=IMAGE_KEYS,
        headers={"location": f"http://images.test/v2/images/{OWN_ID}"},
    ),
    create("wrong content type", 415, {}, media_type="text/plain"),  # 201 there, and from any page
    Exchange("duplicate id", "POST /v2/images#{taken}", 409, {"id": OWN_ID}),
    create("bad id", 400, {"id": "xyz"}),
    create("bad disk_format", 400, {"disk_format": "nope"}),
    create("read-only", 403, {"status": "active"}),
    create("size", 403, {"size": 0}),
    create("self", 403, {"self": "x"}),
    create("locations", 403, {"locations": []}),
    create("reserved", 403, {"os_glance_foo": "x"}),
    create("location", 403, {"location": "x"}),
    create("property is no string", 400, {"foo": 3}),
    create("bad JSON", 400, b'{"name": '),
    create("list", 400, b"[]"),  # there an error of the server
    create("null", 400, b"null"),  # the same
    create("no body", 400, b""),
    create("public", 403, {"visibility": "public"}),
    create("public by admin", 201, {"visibility": "public"}, caller="root", keys=IMAGE_KEYS),
    create("other owner", 403, {"owner": "p2"}),
    create("long name", 400, {"name": "x" * 256}),
    create("long tag", 400, {"tags": ["x" * 256]}),
    create("long property name", 400, {"x" * 256: "v"}),
    create("as reader", 403, {}, caller="carol"),
    create("properties over quota", 413, {f"k{number}": "v" for number in range(200)}),
    create("tags over quota", 413, {"tags": [f"t{number}" for number in range(200)]}),
]

SHOW = [
    get("show", "/v2/images/{queued}", 200, keys=IMAGE_KEYS | {"custom"}),
    get("slash at the end", "/v2/images/{queued}/", 200, keys=IMAGE_KEYS | {"custom"}),
    get("show active", "/v2/images/{active}", 200, keys=ACTIVE_KEYS),
    get("show empty", "/v2/images/{empty}", 200, keys=ACTIVE_KEYS | {"imaged_notice"}),
    get("unknown", f"/v2/images/{UNKNOWN_ID}", 404),
    get("no uuid", "/v2/images/xyz", 404),
    get("private of another project", "/v2/images/{private}", 404, caller="bob"),
    get("shared of another project", "/v2/images/{queued}", 404, caller="bob"),
    get("deleted", "/v2/images/{deleted}", 404),
    get("pending_delete as admin", "/v2/images/{deleted}", 404, caller="root"),
    get(
        "error as JSON",
        "/v2/images/xyz",
        404,
        sent={"accept": "application/json"},
        headers={"content-type": "application/json"},
        keys={"message", "code", "title"},
    ),
    get(
        "error as text",
        "/v2/images/xyz",
        404,
        sent={"accept": "text/plain"},
        headers={"content-type": "text/plain; charset=utf-8"},
    ),
]

LIST = [
    get("list", "/v2/images", 200, keys=LIST_KEYS),
    get("limit 0", "/v2/images?limit=0", 200, keys=LIST_KEYS),
    get("limit -1", "/v2/images?limit=-1", 400),
    get("limit x", "/v2/images?limit=x", 400),
    get("limit 5000", "/v2/images?limit=5000", 200, keys=LIST_KEYS),
    get("marker", "/v2/images?marker={queued}", 200, keys=LIST_KEYS),
    get("unknown marker", f"/v2/images?marker={UNKNOWN_ID}", 400),
    get("bogus marker", "/v2/images?marker=bogus", 400),
    get("sort", "/v2/images?sort=name:asc,size:desc&status=queued", 200, keys=LIST_KEYS),
    get("sort default direction", "/v2/images?sort=name:asc,size", 200, keys=LIST_KEYS),
    get("sort_key", "/v2/images?sort_key=name&sort_dir=asc", 200, keys=LIST_KEYS),
    get("bad sort", "/v2/images?sort=bogus", 400),
    get("bad sort_key", "/v2/images?sort_key=nope", 400),
    get("bad sort_dir", "/v2/images?sort_dir=up", 400),
    get("both sorts", "/v2/images?sort_key=name&sort=id", 400),
    get("in", "/v2/images?status=in:queued,active", 200, keys=LIST_KEYS),
    get("in, quoted", '/v2/images?name=in:"a","b"', 200, keys=LIST_KEYS),
    get("like", "/v2/images?name=like:a", 200, keys=LIST_KEYS),  # 400: here a name may have a colon
    get("unknown status", "/v2/images?status=bogus", 200, keys=LIST_KEYS),
    get("name", "/v2/images?name=img", 200, keys=LIST_KEYS),
    get("tags", "/v2/images?tag=t1&tag=t2", 200, keys=LIST_KEYS),
    get("created_at", "/v2/images?created_at=gt:2020-01-01T00:00:00Z", 200, keys=LIST_KEYS),
    get("bad operator", "/v2/images?created_at=foo:2020-01-01T00:00:00Z", 400),
    get("bad moment", "/v2/images?created_at=bogus", 400),
    get("size_min", "/v2/images?size_min=1", 200, keys=LIST_KEYS),
    get("bad size_min", "/v2/images?size_min=x", 400),
    get("property", "/v2/images?custom=v", 200, keys=LIST_KEYS),
    get("unknown filter", "/v2/images?bogusfilter=1", 200, keys=LIST_KEYS),
    get("unknown visibility", "/v2/images?visibility=foo", 400),
    get("all visibilities", "/v2/images?visibility=all", 200, keys=LIST_KEYS),
    get("member_status", "/v2/images?member_status=all&visibility=shared", 200, keys=LIST_KEYS),
    get("bad member_status", "/v2/images?member_status=bogus", 400),
    get("bad os_hidden", "/v2/images?os_hidden=x", 400),
    get("bad protected", "/v2/images?protected=x", 400),
    get("changes-since", "/v2/images?changes-since=2020", 400),
]

PATCH = [
    patch("replace", "queued", 200, change("replace", "/name", "n"), keys=IMAGE_KEYS | {"custom"}),
    patch("add", "queued", 200, change("add", "/k", "v"), keys=IMAGE_KEYS | {"custom", "k"}),
    patch("add existing", "queued", 200, change("add", "/custom", "w")),
    patch("remove", "queued", 200, change("remove", "/custom"), keys=IMAGE_KEYS),
    patch("nothing", "queued", 200, b"[]"),
    patch("tags", "queued", 200, change("replace", "/tags", ["q", "r"])),
    patch("protect", "active", 200, change("replace", "/protected", True), keys=ACTIVE_KEYS),
    patch("remove missing", "queued", 409, change("remove", "/k")),
    patch("replace missing", "queued", 409, change("replace", "/zz", "x")),
    patch("remove base", "queued", 403, change("remove", "/name")),
    patch("read-only", "queued", 403, change("replace", "/status", "active")),
    patch("checksum", "queued", 403, change("replace", "/checksum", "x")),
    patch("reserved", "queued", 403, change("add", "/os_glance_x", "x")),
    patch("move", "queued", 400, [{"op": "move", "from": "/x", "path": "/y"}]),
    patch("test", "queued", 400, change("test", "/name", "a")),
    patch("no list", "queued", 400, {}),
    patch("add one tag", "queued", 400, change("add", "/tags/-", "q")),
    patch("no slash", "queued", 400, change("add", "name", "x")),
    patch("two tokens", "queued", 400, change("add", "/a/b", "x")),
    patch("negative", "queued", 400, change("replace", "/min_disk", -1)),
    patch("public", "queued", 403, change("replace", "/visibility", "public")),
    patch("owner", "queued", 403, change("replace", "/owner", "z")),
    patch("format of active", "active", 403, change("replace", "/disk_format", "qcow2")),
    patch("locations", "queued", 403, change("replace", "/locations", [])),
    patch("add location", "queued", 403, change("add", "/locations/-", {"url": "file:///x"})),
    patch("other project", "private", 404, change("replace", "/name", "x"), caller="bob"),
    patch(
        "application/json",
        "queued",
        415,
        b"[]",
        media_type="application/json",
        headers={"accept-patch": f"{V2_0}, {V2_1}"},
    ),
    patch("plain JSON patch", "queued", 415, b"[]", media_type="application/json-patch+json"),
    patch("v2.0", "queued", 200, [{"replace": "/name", "value": "r2"}], media_type=V2_0),
    patch("v2.0 add", "queued", 409, [{"add": "/custom", "value": "r2"}], media_type=V2_0),
]

DATA = [
    get("file of queued", "/v2/images/{queued}/file", 204),
    put("put", "queued", 204),
    put("no bytes", "queued", 204, b""),
    put("no content type", "queued", 415, media_type=None),
    put("wrong content type", "queued", 415, media_type="application/json"),
    put("no formats", "bare", 400),
    put("not what was declared", "qcow2", 415, b"not a qcow2"),
    put("again", "active", 409),
    put("unknown image", "queued", 404, caller="bob"),
    put("bad store", "queued", 400, sent={"x-image-meta-store": "nope"}),
    put("other store", "queued", 204, sent={"x-image-meta-store": "near"}),
    put("size", "queued", 204, sent={"x-openstack-image-size": "5"}),
    put("other size", "queued", 400, sent={"x-openstack-image-size": "6"}),
    put("bad size", "queued", 400, sent={"x-openstack-image-size": "x"}),
    get("empty", "/v2/images/{empty}/file", 200, headers={"content-length": "0"}, text=b""),
    get("file", "/v2/images/{active}/file", 200, headers=data_headers(5), text=b"hello"),
    get(
        "range",
        "/v2/images/{active}/file",
        206,
        sent={"range": "bytes=1-2"},
        headers={**data_headers(2), "content-range": "bytes 1-2/5"},
        text=b"el",
    ),
    get(
        "suffix range",
        "/v2/images/{active}/file",
        206,
        sent={"range": "bytes=-2"},
        headers={**data_headers(2), "content-range": "bytes 3-4/5"},
        text=b"lo",
    ),
    get(
        "open range",
        "/v2/images/{active}/file",
        206,
        sent={"range": "bytes=3-"},
        headers={"content-range": "bytes 3-4/5"},
        text=b"lo",
    ),
    get(
        "range outside",
        "/v2/images/{active}/file",
        416,
        sent={"range": "bytes=9-12"},
        headers={"content-range": "bytes */5"},
    ),
    get("two ranges", "/v2/images/{active}/file", 200, sent={"range": "bytes=0-0,2-2"}),
    get("file of a stranger", "/v2/images/{private}/file", 404, caller="bob"),
    get("deactivated", "/v2/images/{deactivated}/file", 403),
    get("deactivated as admin", "/v2/images/{deactivated}/file", 200, caller="root"),
]

REST = [
    Exchange("deactivate", "POST /v2/images/{active}/actions/deactivate", 204),
    Exchange("deactivate again", "POST /v2/images/{deactivated}/actions/deactivate", 204),
    Exchange("reactivate", "POST /v2/images/{deactivated}/actions/reactivate", 204),
    Exchange("deactivate queued", "POST /v2/images/{queued}/actions/deactivate", 403),
    Exchange("add tag", "PUT /v2/images/{queued}/tags/a b", 204),
    Exchange("remove tag", "DELETE /v2/images/{queued}/tags/t1", 204),
    Exchange("remove missing tag", "DELETE /v2/images/{queued}/tags/zz", 404),
    Exchange("delete", "DELETE /v2/images/{active}", 204),
    Exchange("delete as other project", "DELETE /v2/images/{active}", 404, caller="bob"),
    Exchange("delete protected", "DELETE /v2/images/{protected}", 403),
    Exchange("delete again", "DELETE /v2/images/{deleted}", 404),
    Exchange("405", "PUT /v2/images", 405, headers={"allow": "GET, HEAD, POST, OPTIONS"}),
    Exchange(
        "405 of an image",
        "POST /v2/images/{queued}",
        405,
        headers={"allow": "GET, HEAD, PATCH, DELETE, OPTIONS"},
    ),
    Exchange("HEAD", "HEAD /v2/images/{active}", 200),  # 405 there
    Exchange("HEAD file", "HEAD /v2/images/{active}/file", 200),
]

EXCHANGES = [*VERSIONS, *SCHEMAS, *CREATE, *SHOW, *LIST, *PATCH, *DATA, *REST]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
async def test_answer_is_the_one_of_the_reference(service: Service, exchange: Exchange) -> None:
    """The same request gets the same status, headers and field names."""
    method, path = exchange.request.split(" ", 1)
    for name, make in IMAGES.items():
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", await make(service))
    sent = dict(exchange.sent)
    if exchange.media_type is not None:
        sent["content-type"] = exchange.media_type

    reply = await service.call(
        method, path.partition("#")[0], exchange.body, caller=exchange.caller, headers=sent
    )

    assert reply.status == exchange.status, reply.text
    assert reply.headers["x-openstack-request-id"].startswith("req-")
    for name, text in exchange.headers.items():
        assert reply.headers[name] == (reply.headers[name] if text is None else text)
    if exchange.keys:
        assert reply.json().keys() >= exchange.keys
        assert not reply.json().keys() - exchange.keys - {"next", "additionalProperties"}
    if exchange.text is not None:
        assert reply.body == exchange.text


async def test_fields_come_in_the_order_of_the_reference(service: Service) -> None:
    """Properties come first, then the attributes in their order."""
    image_id = await service.create_active(os_distro="debian")
    reply = await service.call("GET", f"/v2/images/{image_id}")
    assert list(reply.json()) == ["os_distro", *ATTRIBUTES, "stores"]


async def test_id_in_capitals_is_the_same_id(service: Service) -> None:
    """Ids are hexadecimal numbers: capitals make no other image of them."""
    created = await service.call("POST", "/v2/images", {"id": OWN_ID.upper()})
    assert created.json()["id"] == OWN_ID
    for image_id in (OWN_ID, OWN_ID.upper()):
        shown = await service.call("GET", f"/v2/images/{image_id}")
        assert shown.json()["id"] == OWN_ID
    assert (await service.call("POST", "/v2/images", {"id": OWN_ID})).status == 409


async def test_next_leads_through_all_pages(service: Service) -> None:
    """Following the links shows every image once, and keeps what was asked for."""
    made = [await service.create(name=f"n{number}") for number in range(5)]
    path, seen = "/v2/images?limit=2&sort=name:asc", []
    while path:
        reply = (await service.call("GET", path)).json()
        seen += [image["id"] for image in reply["images"]]
        assert reply["first"] == "/v2/images?limit=2&sort=name%3Aasc"
        path = reply.get("next", "")
    assert seen == made


OURS = {"locations", "imaged_last_failure", "imaged_notice", "imaged_damage"}
UNSET_AT_FIRST = {"checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size"}
READ_ONLY = UNSET_AT_FIRST | {
    *("status", "created_at", "updated_at", "direct_url", "self", "file", "stores", "schema")
}
NULLABLE = UNSET_AT_FIRST | {
    *("name", "container_format", "disk_format", "kernel_id", "ramdisk_id")
}
FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")


async def test_schema_says_what_the_reference_says(service: Service) -> None:
    """The same names, types, lengths and enumerations; locations and the failure are ours."""
    properties = (await service.call("GET", "/v2/schemas/image")).json()["properties"]
    described = {name for name, schema in properties.items() if schema.get("is_base") is False}
    assert described == DEFAULT_PROPERTIES.keys()
    assert properties.keys() == IMAGE_KEYS | {"stores", "direct_url"} | OURS | described
    read_only = {name for name, schema in properties.items() if schema.get("readOnly")}
    assert read_only - OURS == READ_ONLY
    nullable = {name for name, schema in properties.items() if "null" in schema["type"]}
    assert nullable == NULLABLE
    assert properties["disk_format"]["enum"] == [None, *FORMATS]
    assert set(properties["status"]["enum"]) == set(Status)
    assert properties["tags"]["items"] == {"type": "string", "maxLength": 255}
    assert properties["min_ram"]["type"] == "integer"
    assert properties["protected"]["type"] == "boolean"
