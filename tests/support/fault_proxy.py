"""A proxy in front of an S3 server: it knows which call a request is, and lets some go wrong.

Every request is read whole and takes a connection of its own to the server, whose answer is read
whole too, unless the proxy has something else in mind. So it is known of each fault whether the
server carried the call out.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from itertools import count
from typing import Self
from urllib.parse import parse_qs, urlsplit

from support.tcp_proxy import reset

SERVING = "serving"  # the name of our tasks: others look for those that they left
A_WHILE_SECONDS = 0.15


class Fault(StrEnum):
    """What may go wrong with a call; "after" and "answered": although it was carried out."""

    SLOW_DOWN = "503 before"
    INTERNAL_ERROR = "500 before"
    INTERNAL_ERROR_AFTER = "500 after"
    RESET = "reset before"
    RESET_AFTER = "reset after"
    TRUNCATED = "answered in part"
    HANGING = "no answer before"
    HANGING_AFTER = "no answer after"
    ERROR_IN_200 = "200 with an error before"
    ERROR_IN_200_AFTER = "200 with an error after"
    GARBAGE = "200 with garbage"
    PAGE = "200 with a page of the web"
    NOTHING = "200 with nothing, before"
    NOTHING_AFTER = "200 with nothing, after"
    EMPTY_TAG = "200 with an empty tag, before"
    OTHER_TAG = "200 with the tag of other bytes, before"
    EMPTY_LIST = "200 with a list that is empty"
    SAME_PAGE = "200 with a list that goes on where it began"
    TOO_LONG = "413 from a proxy before"
    NOWHERE = "404 from a proxy before"
    FULL = "403 because of a quota"
    NO_UPLOADS = "404 as rclone answers a list of uploads"
    NO_KEY = "404 as for an object that is missing"
    UNSIGNED = "403 as where a proxy changes what is signed"
    UNNOTED = "answered without metadata"
    NO_CONDITIONS = "501 where there is a condition"
    NO_RANGES = "200 where a range was asked for"
    STALLED = "the body is not taken"
    PRETENDED = "204 before"
    SLOW = "carried out and answered after a while"
    LATE = "carried out after the client's timeout"
    DRAWN_OUT = "begun, and carried out after the client's timeout"
    DENIED = "403 before"


FAULT_STATUSES = {
    Fault.SLOW_DOWN: ("503 Slow Down", "SlowDown"),
    Fault.INTERNAL_ERROR: ("500 Internal Server Error", "InternalError"),
    Fault.INTERNAL_ERROR_AFTER: ("500 Internal Server Error", "InternalError"),
    Fault.ERROR_IN_200: ("200 OK", "InternalError"),
    Fault.ERROR_IN_200_AFTER: ("200 OK", "InternalError"),
    Fault.NO_CONDITIONS: ("501 Not Implemented", "NotImplemented"),
    Fault.DENIED: ("403 Forbidden", "AccessDenied"),
    Fault.PRETENDED: ("204 No Content", ""),
    Fault.FULL: ("403 Forbidden", "QuotaExceeded"),
    Fault.NO_UPLOADS: ("404 Not Found", "NoSuchUpload"),
    Fault.NO_KEY: ("404 Not Found", "NoSuchKey"),
    Fault.UNSIGNED: ("403 Forbidden", "SignatureDoesNotMatch"),
}
CARRIED_OUT = {
    None,
    Fault.SLOW,
    Fault.INTERNAL_ERROR_AFTER,
    Fault.RESET_AFTER,
    Fault.TRUNCATED,
    Fault.HANGING_AFTER,
    Fault.ERROR_IN_200_AFTER,
    Fault.NOTHING_AFTER,
}

EMPTY_LISTS = {
    "list_objects_v2": b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
    "list_multipart_uploads": (
        b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
    ),
}
EMPTY_TAG = b"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>"
SAME_PAGES = {  # as Swift 2.38 gives of uploads, one by one
    "list_objects_v2": (
        b"<ListBucketResult><IsTruncated>true</IsTruncated>"
        b"<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
    ),
    "list_multipart_uploads": (
        b"<ListMultipartUploadsResult><KeyMarker/><UploadIdMarker/><NextKeyMarker/>"
        b"<NextUploadIdMarker/><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>"
    ),
}

#: By method: the call that concerns a bucket, an upload, an object.
S3_CALLS = {
    "HEAD": ("head_bucket", "", "head_object"),
    "GET": ("list_objects_v2", "list_parts", "get_object"),
    "POST": ("", "complete_multipart_upload", "create_multipart_upload"),
    "PUT": ("", "upload_part", "put_object"),
    "DELETE": ("", "abort_multipart_upload", "delete_object"),
}
COPIES = {"upload_part": "upload_part_copy", "put_object": "copy_object"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request, with the name of its call."""

    head: bytes
    body: bytes

    @property
    def call(self) -> str:
        """What the library calls it."""
        method, target, _ = self.head.split(b"\r\n", 1)[0].decode().split(" ")
        url = urlsplit(target)
        query = parse_qs(url.query, keep_blank_values=True)
        of_bucket, of_upload, of_object = S3_CALLS[method]
        if "/" not in url.path.strip("/"):
            return "list_multipart_uploads" if "uploads" in query else of_bucket
        call = of_upload if "uploadId" in query else of_object
        return COPIES[call] if self.has(b"x-amz-copy-source") else call

    def has(self, header: bytes) -> bool:
        """Whether it has a header of this name."""
        return b"\r\n" + header + b":" in self.head.lower()


#: Told the call and how often it was made before, from 0 on; the fault, if any.
Plan = Callable[[str, int], Fault | None]


def no_faults(_call: str, _number: int) -> None:
    """All goes well."""


def fail(call: str, number: int, fault: Fault, *, for_ever: bool = False) -> Plan:
    """The n-th of these calls fails, and perhaps all after it."""

    def plan(this: str, before: int) -> Fault | None:
        is_hit = before == number or (for_ever and before > number)
        return fault if this == call and is_hit else None

    return plan


def fail_all(number: int, fault: Fault) -> Plan:
    """Whatever is called fails, from the n-th call on."""
    calls = count()
    return lambda _call, _number: fault if next(calls) >= number else None


@dataclass
class FaultProxy:
    """Listens on a free port of the loopback."""

    server_port: int
    plan: Plan = no_faults
    calls: list[str] = field(default_factory=list)  # in the order in which they came
    heads: dict[str, str] = field(default_factory=dict)  # of the last one of each, in small letters
    endpoint: str = ""  # where clients find it, while it runs
    answered_bytes: int | None = None  # cut answers to get_object after so many bytes of body
    hides_length: bool = False  # and do not say in them how many there should be
    parts: dict[str, set[bytes]] = field(default_factory=dict)  # digests of each, by its address
    _port: int = 0
    _server: asyncio.Server = field(init=False, repr=False)
    _late: list[asyncio.Task[bytes]] = field(default_factory=list)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def running(self, secure: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Serve as long as the block lasts, perhaps over TLS."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=secure)
        scheme = "http" if secure is None else "https"
        self._port = self._server.sockets[0].getsockname()[1]
        self.endpoint = f"{scheme}://127.0.0.1:{self._port}"
        try:
            yield self
        finally:
            self._server.close()
            await self.release()
            for connection in self._connections:  # that are not used any more
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def leave(self) -> None:
        """Go away as a gateway that restarts: break off what is under way, refuse connections."""
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def come_back(self) -> None:
        """Listen again, where it was."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    async def release(self) -> None:
        """End what hangs, and carry out what is late."""
        self._released.set()
        await asyncio.gather(*self._late)

    async def settle(self) -> None:
        """Wait until everything that was asked is carried out."""
        await asyncio.gather(*self._connections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name=SERVING)
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                request = await _read_head(reader)
                fault = self._choose(request)
                if fault is Fault.STALLED:
                    await self._released.wait()
                request = await _read_body(request, reader)
                self._note_part(request)
                await self._handle(request, fault, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _note_part(self, request: Request) -> None:
        if request.call == "upload_part":
            address = request.head.split(b" ", 2)[1].decode()
            self.parts.setdefault(address, set()).add(sha256(request.body).digest())

    def _choose(self, request: Request) -> Fault | None:
        self.heads[request.call] = request.head.decode().lower()
        number = Counter(self.calls)[request.call]
        self.calls.append(request.call)
        fault = self.plan(request.call, number)
        is_met = fault is not Fault.NO_CONDITIONS or request.has(b"if-none-match")
        return fault if is_met else None

    async def _handle(
        self, request: Request, fault: Fault | None, writer: asyncio.StreamWriter
    ) -> None:
        answer = b""
        if fault is Fault.SLOW:
            await asyncio.sleep(A_WHILE_SECONDS)
        if fault in CARRIED_OUT:
            answer = await self._forward(request)
        if fault is Fault.UNNOTED:
            answer = _without_metadata(await self._forward(request))
        if fault is Fault.NO_RANGES:
            answer = (await self._forward(request)).replace(b" 206 ", b" 200 ", 1)
        if fault in {Fault.LATE, Fault.DRAWN_OUT}:
            is_begun = fault is Fault.DRAWN_OUT
            late = self._forward_late(request, len(request.body) // 2 if is_begun else 0)
            self._late.append(asyncio.create_task(late, name=SERVING))
        if request.call == "get_object" and self.answered_bytes is not None:
            head, _, body = answer.partition(b"\r\n\r\n")
            if self.hides_length:
                head = head.replace(b"\r\nContent-Length:", b"\r\nX-Hidden:")
            answer = head + b"\r\n\r\n" + body[: self.answered_bytes]
        await self._answer(request, fault, answer, writer)

    async def _answer(
        self, request: Request, fault: Fault | None, answer: bytes, writer: asyncio.StreamWriter
    ) -> None:
        match fault:
            case None | Fault.SLOW | Fault.NO_RANGES | Fault.STALLED | Fault.UNNOTED:
                writer.write(answer)
            case Fault.TRUNCATED:
                writer.write(answer[: max(len(answer) - 20, 20)])
            case Fault.RESET | Fault.RESET_AFTER:
                reset(writer)
            case Fault.HANGING | Fault.HANGING_AFTER | Fault.LATE | Fault.DRAWN_OUT:
                await self._released.wait()
            case Fault.EMPTY_LIST:
                writer.write(_answer_of("200 OK", EMPTY_LISTS[request.call]))
            case Fault.SAME_PAGE:
                writer.write(_answer_of("200 OK", SAME_PAGES[request.call]))
            case fault if fault in MADE_UP:
                writer.write(MADE_UP[fault])
            case _:
                writer.write(_error(*FAULT_STATUSES[fault], has_body=request.call[:5] != "head_"))
        with suppress(ConnectionError):
            await writer.drain()

    async def _forward_late(self, request: Request, begun_bytes: int) -> bytes:
        """Send part of the body at once, and the rest on command."""
        if not begun_bytes:
            await self._released.wait()
        return await self._forward(request, begun_bytes)

    async def _forward(self, request: Request, begun_bytes: int = 0) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        try:
            head = request.head.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"
            writer.write(head + request.body[:begun_bytes])
            if begun_bytes:
                await writer.drain()
                await self._released.wait()
            writer.write(request.body[begun_bytes:])
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


async def _read_head(reader: asyncio.StreamReader) -> Request:
    return Request(await reader.readuntil(b"\r\n\r\n"), b"")


async def _read_body(request: Request, reader: asyncio.StreamReader) -> Request:
    length = 0
    for line in request.head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            length = int(value)
    return replace(request, body=await reader.readexactly(length))


def _without_metadata(answer: bytes) -> bytes:
    head, end, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"x-amz-meta-")]
    return b"\r\n".join(lines) + end + body


def _answer_of(status: str, body: bytes = b"", header: str = "X-Made-Up: yes") -> bytes:
    head = f"HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


#: Of an intermediary that knows no S3.
MADE_UP = {
    Fault.GARBAGE: _answer_of("200 OK", b"<nothing<"),
    Fault.PAGE: _answer_of("200 OK", b"<html></html>"),
    Fault.NOTHING: _answer_of("200 OK"),
    Fault.NOTHING_AFTER: _answer_of("200 OK"),
    Fault.EMPTY_TAG: _answer_of("200 OK", EMPTY_TAG),
    Fault.OTHER_TAG: _answer_of("200 OK", header=f'ETag: "{"0" * 32}"'),
    Fault.TOO_LONG: _answer_of("413 Request Entity Too Large", b"<html></html>"),
    Fault.NOWHERE: _answer_of("404 Not Found", b"<html></html>"),
}


def _error(status: str, code: str, *, has_body: bool) -> bytes:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    text = body if has_body and code else ""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode()
