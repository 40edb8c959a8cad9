"""Whatever comes in: never an error of the server, and nothing changed by what is refused."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaged.api.images import V2_0, V2_1
from imaged.core.attributes import ATTRIBUTES
from support.service import OCTETS, RAW, Reply, Service

pytestmark = pytest.mark.asyncio

often = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

words = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(max_codepoint=127), max_size=8),
    st.sampled_from(["", "raw", "bare", "p1", "true", "in:a,b", "gt:2026-11-20", "x" * 300, "~"]),
)
names = st.one_of(
    st.sampled_from([*ATTRIBUTES, "os_glance_x", "imaged_x", "deleted", "k", "locations/-"]), words
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        words,
        st.text(st.characters(categories=["Cs", "Cc", "L"]), max_size=5),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)),
    max_leaves=8,
)
paths = st.one_of(names.map(lambda name: f"/{name}"), words, values)
steps = st.fixed_dictionaries(
    {},
    optional={
        "op": st.one_of(st.sampled_from(["add", "replace", "remove", "move"]), values),
        "path": paths,
        "value": values,
        "add": paths,
        "replace": paths,
        "remove": paths,
    },
)
SEARCHES = ("limit", "marker", "sort", "sort_key", "sort_dir", "tag", "member_status", "size_min")
parameters = st.one_of(
    st.sampled_from([*ATTRIBUTES, *SEARCHES, "size_max", "min_ram_min", "changes-since"]), words
)
operands = st.one_of(
    words,
    st.integers().map(str),
    st.datetimes().map(lambda at: at.isoformat()),
    st.tuples(st.sampled_from(["in", "eq", "neq", "gt", "gte", "lt", "lte"]), words).map(":".join),
    st.lists(st.sampled_from(["name", "id", "size", "asc", "desc", ",", ":", '"']), max_size=6).map(
        "".join
    ),
)
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)


def unescaped(value: object) -> bytes:
    """JSON, also of what is no Unicode."""
    return json.dumps(value).encode()


def check(reply: Reply) -> None:
    """It is an answer, and no mistake of the server."""
    assert reply.status < 500, reply.text
    assert reply.headers["x-openstack-request-id"]


@often
@given(
    body=st.one_of(
        st.dictionaries(names, values, max_size=5).map(unescaped),
        values.map(unescaped),
        st.binary(max_size=60),
    )
)
async def test_any_body_to_create_from(body: bytes) -> None:
    """Either an image comes of it, or a refusal and no image."""
    service = Service()
    reply = await service.call("POST", "/v2/images", body)
    check(reply)
    assert len(service.facts.images) == (1 if reply.status == 201 else 0)


@often
@given(
    patch=st.one_of(st.lists(steps, max_size=4), values), media_type=st.sampled_from([V2_0, V2_1])
)
async def test_any_patch(patch: Any, media_type: str) -> None:
    """A patch is applied, or refused and the image is as it was."""
    service = Service()
    image_id = await service.create(k="v")
    before = service.image(image_id)
    reply = await service.call(
        "PATCH",
        f"/v2/images/{image_id}",
        unescaped(patch),
        headers={"content-type": media_type},
    )
    check(reply)
    if reply.status != 200:
        assert service.image(image_id) == before


@often
@given(pairs=st.lists(st.tuples(parameters, operands), max_size=4))
async def test_any_query(pairs: list[tuple[str, str]]) -> None:
    """A list is answered, or refused by name."""
    service = Service()
    await service.create()
    query = urlencode([(name, value) for name, value in pairs], errors="replace")
    reply = await service.call("GET", f"/v2/images?{query}")
    check(reply)
    assert reply.status in {200, 400}


@often
@given(query=header_text)
async def test_any_raw_query(query: str) -> None:
    """Query strings need not be well formed."""
    check(await Service().call("GET", f"/v2/images?{quote(query, safe='%&=;+:,')}"))


@often
@given(
    header=st.one_of(
        header_text,
        st.text("0123456789-,= bytes", max_size=12).map(lambda text: f"bytes={text}"),
    )
)
async def test_any_range(header: str) -> None:
    """A range gives its bytes, is ignored, or is refused."""
    service = Service()
    image_id = await service.create_active(b"hello")
    path = f"/v2/images/{image_id}/file"
    reply = await service.call("GET", path, headers={"range": header})
    check(reply)
    assert reply.status in {200, 206, 400, 416}
    if reply.status == 206:
        assert reply.body
        assert reply.body in b"hello"
        assert reply.headers["content-length"] == str(len(reply.body))


@often
@given(
    headers=st.dictionaries(
        st.sampled_from(
            [
                *("accept", "host", "content-type", "expect", "range", "if-range"),
                *("x-openstack-request-id", "x-openstack-image-size", "x-image-meta-store"),
            ]
        ),
        header_text,
        max_size=4,
    ),
    method=st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "X"]),
    tail=st.sampled_from(["", "/", "/file", "/tags/x", "/actions/deactivate", "/nope"]),
)
async def test_any_headers(headers: dict[str, str], method: str, tail: str) -> None:
    """Headers may say what they like."""
    service = Service()
    image_id = await service.create()
    path = f"/v2/images/{image_id}{tail}"
    check(await service.call(method, path, b"hello", headers=headers))


@often
@given(tag=words)
async def test_any_tag(tag: str) -> None:
    """A tag that was added is there, and can be removed again."""
    service = Service()
    image_id = await service.create()
    path = f"/v2/images/{image_id}/tags/{tag.partition('?')[0]}"
    added = await service.call("PUT", path)
    check(added)
    if added.status == 204:
        assert len(service.image(image_id).tags) == 1
        assert (await service.call("DELETE", path)).status == 204


@often
@given(path=header_text, method=st.sampled_from(["GET", "PUT", "POST"]))
async def test_any_path(path: str, method: str) -> None:
    """Paths lead somewhere or nowhere."""
    check(await Service().call(method, f"/{path}"))
    check(await Service().call(method, f"/v2/images/{path}", RAW))


@often
@given(data=st.binary(max_size=3000), disk_format=st.sampled_from(["raw", "qcow2", "iso", "vmdk"]))
async def test_any_data(data: bytes, disk_format: str) -> None:
    """Data is kept as it is, or refused and the image is empty and can be tried again."""
    service = Service()
    image_id = await service.create(disk_format=disk_format)
    reply = await service.call(
        "PUT", f"/v2/images/{image_id}/file", data, headers={"content-type": OCTETS}
    )
    check(reply)
    back = await service.call("GET", f"/v2/images/{image_id}/file")
    assert back.body == (data if reply.status == 204 else b"")
    assert service.image(image_id).status == ("active" if reply.status == 204 else "queued")
