"""Data over real connections: good ones, broken ones, and those that break in the middle."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from imaged.api.bodies import SHORT_REST_BYTES
from imaged.core.errors import StoreError
from imaged.core.integrity import BLOCK_BYTES
from imaged.core.lifecycle import Status
from imaged.core.limits import MIB
from imaged.ports.store import BlobReader
from imaged.testing.memory_store import MemoryStore
from support.faults import override_calls
from support.server import RawConnection, served
from support.service import OCTETS, Service
from support.waiting import wait_until

TYPE = f"Content-Type: {OCTETS}"
CHUNKED = "Transfer-Encoding: chunked"


@dataclass
class Running:
    """A service, and the port that it listens on."""

    service: Service
    port: int

    def create(self, **attributes: object) -> str:
        """Create an image that may take data."""
        return asyncio.run(self.service.create(**attributes))

    def create_active(self, data: bytes) -> str:
        """Create an image with data."""
        return asyncio.run(self.service.create_active(data))

    def line(self) -> RawConnection:
        """Connect."""
        return RawConnection(self.port)

    def wait_for(self, image_id: str, status: Status) -> None:
        """Wait until the image is there."""
        wait_until(lambda: self.service.image(image_id).status is status)

    def require_clean(self, image_id: str) -> None:
        """The image is queued as if nothing had been sent, nothing is held, and a retry works."""
        self.wait_for(image_id, Status.QUEUED)
        image = self.service.image(image_id)
        assert (image.content, image.claim, image.held) == (None, None, {})
        assert image.last_failure is not None
        assert not self.service.bytes.blobs
        with self.line() as line:
            other = "X-Imaged-Replace: true"
            line.ask(f"PUT {path_of(image_id)}", TYPE, other, "Content-Length: 5", body=b"retry")
            assert line.read()[0] == 204
        assert self.service.image(image_id).status is Status.ACTIVE


@pytest.fixture
def running(service: Service) -> Iterator[Running]:
    """The service on a real server."""
    with served(service) as port:
        yield Running(service, port)


def path_of(image_id: str) -> str:
    """Where the data is."""
    return f"/v2/images/{image_id}/file"


def errors_in(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The events that are errors of ours."""
    return [line["event"] for line in lines if line["log_level"] == "error"]


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_data_comes_back_as_it_went_in(running: Running) -> None:
    """With its length or chunked, in odd pieces, over one connection."""
    data = random.Random(1).randbytes(3 * MIB + 7)
    with running.line() as line:
        for is_chunked in (False, True):
            image_id = running.create()
            length = CHUNKED if is_chunked else f"Content-Length: {len(data)}"
            line.ask(f"PUT {path_of(image_id)}", TYPE, length)
            for start in range(0, len(data), 99_991):
                piece = data[start : start + 99_991]
                line.socket.sendall(chunk(piece) if is_chunked else piece)
            if is_chunked:
                line.socket.sendall(b"0\r\n\r\n")
            assert line.read()[0] == 204
            line.ask(f"GET {path_of(image_id)}")
            status, headers, body = line.read()
            assert (status, body) == (200, data)
            assert headers["content-md5"] == hashlib.md5(data).hexdigest()  # noqa: S324 - the API's
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-disposition"] == "attachment"


def test_body_that_waits_for_permission(running: Running) -> None:
    """With Expect, the body is asked for once it is welcome, and not at all where it is not."""
    image_id = running.create()
    expect = (TYPE, "Content-Length: 5", "Expect: 100-continue")
    with running.line() as line:
        line.ask(f"PUT {path_of(image_id)}", *expect)
        assert line.read_head()[0] == 100
        line.socket.sendall(b"hello")
        assert line.read()[0] == 204
        line.ask(f"PUT {path_of(image_id)}", *expect)
        status, headers, _ = line.read()
        assert (status, headers["connection"]) == (409, "close")
        assert line.read_rest() == b""


@pytest.mark.parametrize(
    ("length", "part"),
    [("Content-Length: 100", b"only a part"), (CHUNKED, b"5\r\nhello\r\n")],
    ids=["length", "chunks"],
)
@pytest.mark.parametrize("leaves", [RawConnection.__exit__, RawConnection.hang_up])
def test_client_that_leaves(
    running: Running, length: str, part: bytes, leaves: Callable[[RawConnection], None]
) -> None:
    """It closes or resets the connection in the middle: what came is not taken for the whole."""
    image_id = running.create()
    line = running.line()
    line.ask(f"PUT {path_of(image_id)}", TYPE, length, body=part)
    running.wait_for(image_id, Status.SAVING)
    leaves(line)
    running.require_clean(image_id)


def test_body_longer_than_its_own_header_says(running: Running) -> None:
    """It is refused as soon as it is too long, and the answer arrives."""
    image_id = running.create()
    with running.line() as line:
        line.ask(f"PUT {path_of(image_id)}", TYPE, CHUNKED, "X-OpenStack-Image-Size: 9")
        line.socket.sendall(chunk(b"x" * 2 * MIB) + b"0\r\n\r\n")
        status, headers, _ = line.read()
        assert (status, headers["connection"]) == (400, "close")
        assert line.read_rest() == b""
    running.require_clean(image_id)


def test_body_longer_than_announced(running: Running) -> None:
    """What follows behind the announced length is refused, and never becomes data."""
    image_id = running.create()
    with running.line() as line:
        line.ask(f"PUT {path_of(image_id)}", TYPE, "Content-Length: 5", body=b"hello and more")
        assert line.read_head()[0] in {204, 400}  # 400: it came before the upload was finished
        line.read_rest()
    wait_until(lambda: running.service.image(image_id).claim is None)
    is_active = running.service.image(image_id).status is Status.ACTIVE
    assert list(running.service.bytes.blobs.values()) == ([b"hello"] if is_active else [])


def test_broken_chunk(running: Running) -> None:
    """A chunk whose length is no number breaks the upload off."""
    image_id = running.create()
    with running.line() as line:
        line.ask(f"PUT {path_of(image_id)}", TYPE, CHUNKED, body=chunk(b"hello"))
        running.wait_for(image_id, Status.SAVING)
        line.socket.sendall(b"zz\r\nhello\r\n")
        assert line.read()[0] == 400
        assert line.read_rest() == b""
    running.require_clean(image_id)


FILE = random.Random(1).randbytes(5_100_000)  # repeats nothing
CUT = 2_000_000


def length(is_announced: bool, body: bytes) -> str:
    """How a client says how long its body is."""
    return f"Content-Length: {len(body)}" if is_announced else CHUNKED


def framed(is_announced: bool, body: bytes) -> bytes:
    """The body as it goes over the wire."""
    return body if is_announced else chunk(body) + b"0\r\n\r\n"


@pytest.mark.parametrize("where", ["file", "stage"])
@pytest.mark.parametrize("first", [True, False], ids=["length", "chunks"])
@pytest.mark.parametrize("second", [True, False], ids=["length", "chunks"])
def test_rest_of_a_broken_upload(running: Running, where: str, first: bool, second: bool) -> None:
    """A client that repeats it without rewinding its file is refused; with the whole it is not."""
    image_id = running.create()
    path = f"PUT /v2/images/{image_id}/{where}"
    with running.line() as line:
        part = FILE[:CUT] if first else chunk(FILE[:CUT])
        line.ask(path, TYPE, length(first, FILE), body=part)
        running.wait_for(image_id, Status.SAVING if where == "file" else Status.UPLOADING)
    running.wait_for(image_id, Status.QUEUED)

    for body, status in ((FILE[CUT:], 409), (FILE, 204)):
        with running.line() as line:
            line.ask(path, TYPE, length(second, body), body=framed(second, body))
            answer = line.read()
        assert answer[0] == status
        if status == 409:
            assert b"X-Imaged-Replace: true" in answer[2]


def test_upload_without_a_length(running: Running) -> None:
    """Neither a length nor chunks: it is asked for one, and no empty image comes of it."""
    image_id = running.create()
    for where in ("file", "stage"):
        with running.line() as line:
            line.ask(f"PUT /v2/images/{image_id}/{where}", TYPE)
            assert line.read()[0] == 411
    assert running.service.image(image_id).status is Status.QUEUED


def test_image_deleted_during_its_upload(running: Running) -> None:
    """The uploading client learns that the image is gone."""
    image_id = running.create()
    with running.line() as line:
        line.ask(f"PUT {path_of(image_id)}", TYPE, CHUNKED, body=chunk(b"hello"))
        running.wait_for(image_id, Status.SAVING)
        asyncio.run(running.service.call("DELETE", f"/v2/images/{image_id}"))
        line.socket.sendall(b"0\r\n\r\n")
        assert line.read()[0] == 410


@pytest.mark.parametrize(
    ("attributes", "length", "status"),
    [
        ({"disk_format": None}, 5, 400),
        ({"disk_format": "qcow2"}, 5, 415),
        ({}, 65 * MIB, 413),
    ],
    ids=["no format", "other format", "too large"],
)
def test_refused_upload(
    running: Running, attributes: dict[str, object], length: int, status: int
) -> None:
    """The reason arrives, and the connection is closed where a long rest was left unread."""
    image_id = running.create(**attributes)
    with running.line() as line:
        line.ask(
            f"PUT {path_of(image_id)}", TYPE, f"Content-Length: {length}", body=b"hello"[:length]
        )
        answered, headers, _ = line.read()
        assert answered == status
        assert ("connection" in headers) is (length > SHORT_REST_BYTES)
    assert running.service.image(image_id).status is Status.QUEUED
    assert not running.service.bytes.blobs


def test_connection_lives_on_after_a_short_rest(running: Running) -> None:
    """A refused body that is short is read away, and the next request is answered."""
    image_id = running.create_active(b"hello")
    length = f"Content-Length: {SHORT_REST_BYTES}"
    with running.line() as line:
        line.ask(f"PUT {path_of(image_id)}", TYPE, length, body=b"x" * SHORT_REST_BYTES)
        assert line.read()[0] == 409
        line.ask("GET /v2/images")
        assert line.read()[0] == 200


def test_large_refused_body_gets_its_answer(running: Running) -> None:
    """A client that goes on sending for a while reads the answer all the same."""
    image_id = running.create_active(b"hello")
    length = f"Content-Length: {SHORT_REST_BYTES + 1}"
    with running.line() as line:
        line.ask(f"PUT {path_of(image_id)}", TYPE, length, body=b"x" * SHORT_REST_BYTES)
        status, headers, _ = line.read()
        assert (status, headers["connection"]) == (409, "close")


def test_head_has_no_body(running: Running) -> None:
    """HEAD answers with the header of GET, and the connection lives on."""
    image_id = running.create_active(b"hello")
    with running.line() as line:
        for path in (path_of(image_id), "/v2/images", "/"):
            line.ask(f"HEAD {path}")
            status, headers = line.read_head()
            assert (status in {200, 300}, int(headers["content-length"]) > 0) == (True, True)
        line.ask("GET /versions")
        assert line.read()[0] == 200


class BreakingReader:
    """Reads a first block, and then no more."""

    def __init__(self, reader: BlobReader, error: Exception | None) -> None:
        self._reader = reader
        self._error = error
        self.size_bytes = reader.size_bytes
        self._left_bytes = BLOCK_BYTES

    async def read(self, length: int) -> bytes:
        """The next bytes, of the first block."""
        if self._left_bytes:
            self._left_bytes -= length
            return await self._reader.read(length)
        if self._error is None:
            return b""
        raise self._error


@pytest.mark.parametrize(
    "error",
    [StoreError("local", "lost its disk"), RuntimeError("a mistake"), None],
    ids=["store", "mistake", "short"],
)
def test_download_that_breaks(error: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    """A failure in the middle breaks the connection: no client takes a part for the whole. It is
    one line of ours, and none of the library's.
    """
    caplog.set_level(logging.WARNING)
    memory = MemoryStore("local")

    @asynccontextmanager
    async def breaks(key: str, start: int = 0) -> AsyncIterator[BreakingReader]:
        async with memory.open(key, start) as reader:
            yield BreakingReader(reader, error)

    service = Service(store=override_calls(memory, open=breaks))
    data = b"x" * 3 * BLOCK_BYTES
    image_id = asyncio.run(service.create_active(data))
    with capture_logs() as lines, served(service) as port:
        with RawConnection(port) as line:
            line.ask(f"GET {path_of(image_id)}")
            status, headers = line.read_head()
            assert (status, headers["content-length"]) == (200, str(len(data)))
            assert len(line.read_rest()) == BLOCK_BYTES
        with RawConnection(port) as line:
            line.ask("GET /livez")
            assert line.read()[0] == 200
    assert errors_in(lines) == ["answer.broken_off"]
    assert not caplog.records


class CountingReader:
    """Counts what is read."""

    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader
        self.size_bytes = reader.size_bytes
        self.read_bytes = 0

    async def read(self, length: int) -> bytes:
        """The next bytes."""
        chunk = await self._reader.read(length)
        self.read_bytes += len(chunk)
        return chunk


def test_reader_that_leaves_is_not_read_for() -> None:
    """After a reset in the middle of a download, reading stops, and no error is logged."""
    memory = MemoryStore("local")
    closed = threading.Event()
    readers: list[CountingReader] = []

    @asynccontextmanager
    async def watched(key: str, start: int = 0) -> AsyncIterator[BlobReader]:
        async with memory.open(key, start) as reader:
            readers.append(CountingReader(reader))
            try:
                yield readers[0]
            finally:
                closed.set()

    service = Service(store=override_calls(memory, open=watched))
    image_id = asyncio.run(service.create_active(b"x" * 48 * MIB))
    with capture_logs() as lines, served(service) as port:
        line = RawConnection(port)
        line.ask(f"GET {path_of(image_id)}")
        assert line.read_head()[0] == 200
        assert not closed.is_set()
        line.hang_up()
        wait_until(closed.is_set)
    assert readers[0].read_bytes < readers[0].size_bytes
    assert errors_in(lines) == []


def test_little_ranges_on_one_connection_read_a_block_once() -> None:
    """Its connection keeps it, and lets go of it at its end; another one reads it anew."""
    memory, opened = MemoryStore("local"), 0

    @asynccontextmanager
    async def counted(key: str, start: int = 0) -> AsyncIterator[BlobReader]:
        nonlocal opened
        opened += 1
        async with memory.open(key, start) as reader:
            yield reader

    service = Service(store=override_calls(memory, open=counted))
    data = random.Random(1).randbytes(BLOCK_BYTES)
    image_id = asyncio.run(service.create_active(data))
    total_bytes = service.budget.total_bytes
    with served(service) as port:
        for connections in (1, 2):
            with RawConnection(port) as line:
                for start in range(0, 5 * SHORT_REST_BYTES // 2, SHORT_REST_BYTES // 2):
                    line.ask(f"GET {path_of(image_id)}", f"Range: bytes={start}-{start + 99}")
                    status, _, body = line.read()
                    assert (status, body) == (206, data[start : start + 100])
                assert opened == connections
                assert service.budget.free_bytes == total_bytes - BLOCK_BYTES
            wait_until(lambda: service.budget.free_bytes == total_bytes)


def test_requests_that_come_at_once(running: Running) -> None:
    """Pipelined requests are answered in order, and each has its own id."""
    image_id = running.create_active(b"hello")
    with running.line() as line:
        line.ask(f"GET {path_of(image_id)}")
        line.ask("GET /v2/nope")
        line.ask(f"GET {path_of(image_id)}", "Range: bytes=1-2")
        answers = [line.read() for _ in range(3)]
    assert [(status, body) for status, _, body in answers][::2] == [(200, b"hello"), (206, b"el")]
    assert len({headers["x-openstack-request-id"] for _, headers, _ in answers}) == 3
