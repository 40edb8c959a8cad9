"""A client against services that do what they should not, or less than others; and its files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from imaged.client.download_target import local_path, open_part
from imaged.client.errors import (
    ConnectionFailed,
    DigestMismatch,
    EndpointInvalid,
    ErrorResponse,
    FileExists,
    FileUnusable,
    UnexpectedResponse,
)
from imaged.client.http_session import read_endpoint
from imaged.client.image_api import ImageApi, Record, open_image_api, read_record
from imaged.client.pull import Pull, PullResult
from imaged.client.transfer import NoProgress

pytestmark = pytest.mark.asyncio

IMAGE = "1064a2d0-b4d3-4ce3-92ab-7e5d8befd90d"
FACTS = {"id": IMAGE, "name": "a", "status": "active", "size": 10}
MD5 = "781e5e245d69b566979b86e28d23f2c7"  # of 0123456789
DATA = b"0123456789"


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """One answer, as sent over the connection."""
    lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    length = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    return f"HTTP/1.1 {status}\r\n{lines}{length}\r\n".encode() + body


def names(folder: Path) -> list[str]:
    """The names in a folder."""
    return [path.name for path in folder.iterdir()]


@asynccontextmanager
async def answering(answers: Mapping[str, bytes]) -> AsyncIterator[tuple[ImageApi, list[bytes]]]:
    """A client of a service that knows these answers, by path; and the requests that came."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        writer.write(answers[head.split(b" ")[1].decode()])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, open_image_api(read_endpoint(url, token="made-up")) as service:
        yield service, heads


async def pull(service: ImageApi, record: Record, path: Path) -> PullResult:
    """Pull into a file, trying once."""
    with open_part(path, record, overwrite=False) as part:
        return await Pull(service, record, NoProgress(), 1).run(part)


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (answer(b"<html>", Content_Type="text/html"), UnexpectedResponse),
        (answer(b"[]"), UnexpectedResponse),
        (answer(b"", "302 Found", Location="http://127.0.0.1:1/"), UnexpectedResponse),
        (answer(b'{"message": "No."}', "403 Forbidden"), ErrorResponse),
        (b"SSH-2.0-x\r\n", UnexpectedResponse),
        (b"", ConnectionFailed),
    ],
)
async def test_strange_answers_become_client_errors(told: bytes, error: type[Exception]) -> None:
    """Whatever speaks there; a redirect is not followed, so no other service sees the token."""
    async with answering({f"/v2/images/{IMAGE}": told}) as (service, heads):
        with pytest.raises(error):
            await service.show(IMAGE)

    assert all(b"X-Auth-Token: made-up" in head for head in heads)


async def test_an_address_without_images() -> None:
    """The path is wrong, so the address is doubted, not the image."""
    async with answering({"/v2/images?limit=1": answer(b"", "404 Not Found")}) as (service, _):
        with pytest.raises(UnexpectedResponse, match="no list of images") as caught:
            await service.list({}, 1)

    assert "--url" in caught.value.remedy


async def test_plain_http_where_tls_was_wanted() -> None:
    """The error says to try http://."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", "400 Bad Request"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, open_image_api(read_endpoint(url)) as service:
        with pytest.raises(EndpointInvalid, match="cannot be reached by TLS: ") as caught:
            await service.show(IMAGE)

    assert "http://" in caught.value.remedy


async def test_a_service_that_knows_no_ranges(tmp_path: Path) -> None:
    """If it sends everything again, the bytes already held are skipped."""
    record = read_record({**FACTS, "checksum": MD5})
    (tmp_path / f"a.{record.fingerprint}.part").write_bytes(DATA[:4])
    async with answering({f"/v2/images/{IMAGE}/file": answer(DATA)}) as (service, heads):
        done = await pull(service, record, tmp_path / "a")

    assert (done.resumed_at_bytes, done.verified_by) == (4, "md5")
    assert (tmp_path / "a").read_bytes() == DATA
    assert b"Range: bytes=4-" in heads[0]


async def test_a_part_that_is_damaged_is_found_out(tmp_path: Path) -> None:
    """Held bytes count for the digest; a mismatch removes them, so the next pull starts anew."""
    record = read_record({**FACTS, "checksum": MD5})
    (tmp_path / f"a.{record.fingerprint}.part").write_bytes(b"xxxx")
    async with answering({f"/v2/images/{IMAGE}/file": answer(DATA)}) as (service, _):
        with pytest.raises(DigestMismatch):
            await pull(service, record, tmp_path / "a")
        assert not names(tmp_path)
        await pull(service, record, tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == DATA


async def test_a_service_that_knows_no_digest(tmp_path: Path) -> None:
    """Nothing can be compared but the size."""
    async with answering({f"/v2/images/{IMAGE}/file": answer(DATA)}) as (service, _):
        done = await pull(service, read_record(FACTS), tmp_path / "a")

    assert done.verified_by is None


@pytest.mark.parametrize("body", [DATA + b"!", DATA[:9]])
async def test_a_service_that_sends_another_size(tmp_path: Path, body: bytes) -> None:
    """Too much or too little: no file appears."""
    async with answering({f"/v2/images/{IMAGE}/file": answer(body)}) as (service, _):
        with pytest.raises((UnexpectedResponse, ConnectionFailed)):
            await pull(service, read_record(FACTS), tmp_path / "a")

    assert not (tmp_path / "a").exists()


async def test_a_service_that_skips_bytes(tmp_path: Path) -> None:
    """A range that begins later than was asked for is not taken."""
    record = read_record({**FACTS, "checksum": MD5})
    (tmp_path / f"a.{record.fingerprint}.part").write_bytes(DATA[:4])
    told = answer(DATA[6:], "206 Partial Content", Content_Range="bytes 6-9/10")
    async with answering({f"/v2/images/{IMAGE}/file": told}) as (service, _):
        with pytest.raises(UnexpectedResponse, match="from 4 on"):
            await pull(service, record, tmp_path / "a")


async def test_a_creation_is_repeated_after_a_lost_answer() -> None:
    """The conflict is with the first try of the same id, so it succeeds."""
    answers = {
        "/v2/images": answer(b"", "409 Conflict"),
        f"/v2/images/{IMAGE}": answer(json.dumps(FACTS).encode()),
    }
    async with answering(answers) as (service, _):
        record = await service.create({"id": IMAGE})

    assert record.id == IMAGE


async def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    """Its name is told, not that of the part that would have been written."""
    path = tmp_path / "missing" / "a"
    with (
        pytest.raises(FileUnusable, match=f"There is no folder {path.parent}."),
        open_part(path, read_record(FACTS), overwrite=False),
    ):
        pass


async def test_a_file_that_comes_in_between_is_not_overwritten(tmp_path: Path) -> None:
    """Also when it appears while the image is pulled."""
    path = tmp_path / "a"
    with open_part(path, read_record(FACTS), overwrite=False) as part:
        part.write(DATA)
        path.write_bytes(b"mine")
        with pytest.raises(FileExists):
            part.finish()

    assert path.read_bytes() == b"mine"


async def test_one_pull_at_a_time_writes_a_part(tmp_path: Path) -> None:
    """Two would write into each other's bytes."""
    record = read_record(FACTS)
    with (
        open_part(tmp_path / "a", record, overwrite=False),
        pytest.raises(FileUnusable, match="Another process"),
        open_part(tmp_path / "a", record, overwrite=False),
    ):
        pass


async def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that is missing, and something that is no file."""
    record = read_record(FACTS)
    for path in (tmp_path / "missing" / "a", Path("/dev/null")):
        with pytest.raises(FileUnusable), open_part(path, record, overwrite=True):
            pass
    assert local_path(record, tmp_path) == tmp_path / "a"
