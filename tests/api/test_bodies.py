"""Bodies in JSON: what is refused, by which words, and that nothing is changed by it."""

from __future__ import annotations

import threading

import pytest

from imaged.api import bodies
from imaged.api.images import V2_0, V2_1
from imaged.core.limits import MAX_REQUEST_BYTES
from support.service import JSON, Service, ask, token_of

pytestmark = pytest.mark.asyncio

MALFORMED = [
    (b"", "needs a body"),
    (b"{", "not JSON"),
    (b"{'a': 1}", "not JSON"),
    (b'{"a": "b"} {}', "not JSON"),
    (b'{"name": NaN}', "NaN"),
    (b'{"name": -Infinity}', "Infinity"),
    (b"\xff\xfe", "UTF-8"),
    (b"\xef\xbb\xbf{}", "not JSON"),
    (b'{"name": "a", "name": "b"}', "'name' occurs twice"),
    (b'{"k": {"x": 1, "x": 2}}', "'x' occurs twice"),
    (b'{"min_ram": 1' + b"0" * 5000 + b"}", "too large"),
    (b'{"k": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "nested too deeply"),
    (b'{"k": ' * 9_000 + b"1" + b"}" * 9_000, "nested too deeply"),
    (b'{"min_ram": 1e999}', "too large"),
    (b'{"min_ram": 0.' + b"1" * 5000 + b"}", "too long"),
    (b'{"k": {"x": ["\\ud800"]}}', "'x' has half a character"),
    (b'{"k": "\\uDFFF"}', "'k' has half a character"),
    (b'{"k": "\\udc00\\ud800"}', "'k' has half a character"),
    (b'{"\\ud800": 1}', "has half a character"),
    (b"[]", "JSON object"),
    (b"null", "JSON object"),
    (b"5", "JSON object"),
    (b'"x"', "JSON object"),
    (b"true", "JSON object"),
]


@pytest.mark.parametrize(("body", "words"), MALFORMED, ids=[words for _, words in MALFORMED])
async def test_malformed_body_is_refused(service: Service, body: bytes, words: str) -> None:
    """What is no JSON object is refused, in words that say why."""
    reply = await service.call("POST", "/v2/images", body)
    assert (reply.status, words in reply.text) == (400, True), reply.text
    assert not service.facts.images


async def test_whole_characters_are_taken(service: Service) -> None:
    """Two escapes make one character, and an escape of an escape is none."""
    body = b'{"name": "\\ud83d\\ude00", "k": "\\\\ud800"}'
    reply = await service.call("POST", "/v2/images", body)
    assert (reply.status, reply.json()["name"], reply.json()["k"]) == (201, "\U0001f600", "\\ud800")


@pytest.mark.parametrize(
    "path", ["/v2/tasks", "/v2/images/{id}/import", "/v2/images/{id}/locations"]
)
async def test_half_a_character_goes_nowhere(service: Service, path: str) -> None:
    """No store of facts could keep it: every body in JSON is looked through."""
    image_id = await service.create()
    body = {"type": "import", "input": {"import_from": "http://a/\ud800"}, "url": "\udfff"}
    reply = await service.call("POST", path.replace("{id}", image_id), body)
    assert (reply.status, "half a character" in reply.text) == (400, True), reply.text
    assert not service.facts.tasks


@pytest.mark.parametrize(
    "sent", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x/json"]
)
async def test_json_says_that_it_is_json(service: Service, sent: str) -> None:
    """Any page of the web may send other types without asking; ours says what to add."""
    image_id = await service.create()
    before = len(service.facts.images)
    for path in ("/v2/images", "/v2/tasks", f"/v2/images/{image_id}/import"):
        reply = await service.call("POST", path, {}, headers={"content-type": sent})
        assert (reply.status, "'Content-Type: application/json'" in reply.text) == (415, True)
    assert len(service.facts.images) == before


async def test_packed_bodies_are_refused(service: Service) -> None:
    """Nothing here unpacks them; the answer says what is taken (RFC 9110, section 15.5.16)."""
    for coding, status in (("gzip", 415), ("identity, br", 415), ("identity", 201), ("", 201)):
        reply = await service.call("POST", "/v2/images", {}, headers={"content-encoding": coding})
        assert reply.status == status
        assert status == 201 or reply.headers["accept-encoding"] == "identity"


async def test_large_bodies_are_parsed_elsewhere(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on meanwhile; small ones are not worth a thread."""
    threads: list[bool] = []

    parse = bodies.parse

    def noted(body: bytes) -> object:
        threads.append(threading.current_thread() is threading.main_thread())
        return parse(body)

    monkeypatch.setattr(bodies, "parse", noted)
    for size in (bodies.LARGE_BYTES, bodies.LARGE_BYTES + 1):
        frame = b'{"k": "%s"}'
        await service.call("POST", "/v2/images", frame % (b"x" * (size - len(frame) + 2)))
    assert threads == [True, False]


async def test_readers_are_refused_unread(service: Service) -> None:
    """A body is looked at once its sender may write: what is wrong with it is not even said."""
    image_id = await service.create()
    for method, path, media_type in (
        ("POST", "/v2/images", JSON),
        ("POST", "/v2/tasks", JSON),
        ("POST", f"/v2/images/{image_id}/import", JSON),
        ("PATCH", f"/v2/images/{image_id}", V2_1),
    ):
        headers = {"content-type": media_type}
        reply = await service.call(method, path, b"{", caller="carol", headers=headers)
        assert reply.status == 403, reply.text


async def test_large_body_is_refused(service: Service) -> None:
    """64 KiB are accepted, and one byte more is not."""
    frame = b'{"k": "%s"}'
    fits = frame % (b"x" * (MAX_REQUEST_BYTES - len(frame) + 2))
    assert len(fits) == MAX_REQUEST_BYTES
    assert (await service.call("POST", "/v2/images", fits)).status == 201
    assert (await service.call("POST", "/v2/images", fits + b" ")).status == 413


async def test_body_in_pieces(service: Service) -> None:
    """A body may come byte by byte."""
    chunks = [bytes([byte]) for byte in b'{"name": "pieces"}']
    sent = {**token_of("alice"), "transfer-encoding": "chunked", "content-type": JSON}
    reply = await ask(service.app, "POST", "/v2/images", sent, chunks)
    assert (reply.status, reply.json()["name"]) == (201, "pieces")


PATCHES = [
    (V2_1, {"op": "add", "path": "/name", "value": "x"}, "array"),
    (V2_1, [1], "array"),
    (V2_1, None, "array"),
    (V2_1, [{}], "'op'"),
    (V2_1, [{"op": ["add"]}], "'op'"),
    (V2_1, [{"op": "copy", "from": "/a", "path": "/b"}], "copy"),
    (V2_1, [{"op": "add", "value": "x"}], "'path'"),
    (V2_1, [{"op": "add", "path": "/name"}], "'value'"),
    (V2_1, [{"op": "replace", "path": "/name"}], "'value'"),
    (V2_1, [{"op": "add", "path": 5, "value": "x"}], "begins with '/'"),
    (V2_1, [{"op": "add", "path": "", "value": "x"}], "begins with '/'"),
    (V2_1, [{"op": "add", "path": "/", "value": "x"}], "one attribute"),
    (V2_1, [{"op": "add", "path": "//name", "value": "x"}], "one attribute"),
    (V2_1, [{"op": "add", "path": "/name/", "value": "x"}], "one attribute"),
    (V2_1, [{"op": "add", "path": "/a~2", "value": "x"}], "~"),
    (V2_1, [{"op": "add", "path": "/a~", "value": "x"}], "~"),
    (V2_0, [{}], "one member"),
    (V2_0, [{"add": "/a", "replace": "/b", "value": "x"}], "one member"),
    (V2_0, [{"op": "add", "path": "/a", "value": "x"}], "one member"),
    (V2_0, [{"add": "/a"}], "'value'"),
]


@pytest.mark.parametrize(("media_type", "steps", "words"), PATCHES)
async def test_malformed_patch_changes_nothing(
    service: Service, media_type: str, steps: object, words: str
) -> None:
    """A patch that cannot be read is refused, in words that say why, and the image stays."""
    image_id = await service.create(name="before")
    before = service.image(image_id)
    reply = await service.patch(image_id, steps, media_type=media_type)
    assert (reply.status, words in reply.text) == (400, True), reply.text
    assert service.image(image_id) == before


async def test_escaped_names(service: Service) -> None:
    """``~1`` is a slash and ``~0`` a tilde, in this order."""
    image_id = await service.create()
    step = {"op": "add", "path": "/a~1b~01", "value": "v"}
    reply = await service.patch(image_id, [step])
    assert reply.json()["a/b~1"] == "v"


async def test_media_type_has_parameters(service: Service) -> None:
    """A charset behind the media type changes nothing."""
    image_id = await service.create()
    reply = await service.patch(image_id, [], media_type=f"{V2_1}; charset=utf-8")
    assert reply.status == 200
