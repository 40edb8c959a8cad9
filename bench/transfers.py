"""Large uploads and downloads: blocking sockets and sendfile, in threads that hold no lock."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from bench.client import ErrorResponse
from bench.endpoint import Endpoint
from bench.sizes import MIB

SOCKET_TIMEOUT_SECONDS = 60  # while nothing moves
CHUNK_BYTES = 64 * 1024  # as clients send them; some servers refuse larger ones


def put(endpoint: Endpoint, image_id: str, file: Path, *, chunked: bool = False) -> None:
    """Upload a file. Raises ErrorResponse, OSError."""
    size = file.stat().st_size
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = endpoint.head(
        "PUT",
        f"/v2/images/{image_id}/file",
        "Connection: close",
        "Content-Type: application/octet-stream",
        length,
    )
    with _connection(endpoint) as connection:
        try:
            connection.sendall(head)
            _send(connection, file, chunked=chunked)
        except (BlockingIOError, BrokenPipeError) as error:
            raise ErrorResponse(f"the server left an upload in the middle: {error}") from error
        answer = bytearray()
        while chunk := connection.recv(65536):
            answer += chunk
    _require_good(bytes(answer))


def get(endpoint: Endpoint, image_id: str, size_bytes: int) -> None:
    """Download an image, and look at nothing but its length. Raises ErrorResponse, OSError."""
    head = endpoint.head("GET", f"/v2/images/{image_id}/file", "Connection: close")
    buffer = bytearray(MIB)
    with _connection(endpoint) as connection:
        connection.sendall(head)
        received = connection.recv_into(buffer)
        _require_good(bytes(buffer[:received]))
        while count := connection.recv_into(buffer):
            received += count
    if received < size_bytes:
        raise ErrorResponse(f"{received} bytes of {size_bytes} came")


def _connection(endpoint: Endpoint) -> socket.socket:
    connection = socket.create_connection((endpoint.host, endpoint.port), SOCKET_TIMEOUT_SECONDS)
    connection.settimeout(None)  # with one, sendfile asks a selector before each of its steps
    for direction in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):  # so the kernel watches
        connection.setsockopt(
            socket.SOL_SOCKET, direction, struct.pack("ll", SOCKET_TIMEOUT_SECONDS, 0)
        )
    return connection


def _send(connection: socket.socket, file: Path, *, chunked: bool) -> None:
    size = file.stat().st_size
    with file.open("rb") as data:
        if not chunked:
            connection.sendfile(data)
            return
        end = b""
        for offset in range(0, size, CHUNK_BYTES):
            length = min(CHUNK_BYTES, size - offset)
            connection.sendall(end + f"{length:x}\r\n".encode(), socket.MSG_MORE)
            connection.sendfile(data, offset, length)
            end = b"\r\n"
    connection.sendall(end + b"0\r\n\r\n")


def _require_good(answer: bytes) -> None:
    status = answer.split(b" ", 2)[1:2]
    if not status or not status[0].startswith(b"2"):
        raise ErrorResponse(answer[:300].decode(errors="replace"))
