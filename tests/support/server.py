"""The service behind a real server, in a thread of its own, for clients with plain sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from starlette.types import ASGIApp

from imaged.daemon.web_app import API_HOOKS
from imaged.server.connections import CHECK_INTERVAL_SECONDS
from imaged.server.server import HttpServer
from imaged.server.settings import ConnectionSettings
from support.service import Service, token_of
from support.settings import configured
from support.waiting import WAIT_TIMEOUT_SECONDS, wait_until


@contextmanager
def served(service: Service, settings: ConnectionSettings | None = None) -> Iterator[int]:
    """Serve on a free port of the loopback; the port."""
    with serving(service.app, settings or configured(ConnectionSettings)) as (port, _):
        yield port


@contextmanager
def serving(
    app: ASGIApp,
    settings: ConnectionSettings,
    *,
    check_interval_seconds: float = CHECK_INTERVAL_SECONDS,
) -> Iterator[tuple[int, HttpServer]]:
    """The daemon's server before any application; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(app, settings, API_HOOKS, check_interval_seconds=check_interval_seconds)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield listener.getsockname()[1], server
    finally:
        server.should_exit = True
        thread.join(WAIT_TIMEOUT_SECONDS)
        listener.close()
        assert not thread.is_alive()


class RawConnection:
    """A connection of a client that writes HTTP by hand."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_TIMEOUT_SECONDS)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def ask(self, request: str, *headers: str, body: bytes = b"", caller: str = "alice") -> None:
        """Send the head of a request, and some or all of its body."""
        token = "".join(f"{name}: {text}\r\n" for name, text in token_of(caller).items())
        head = f"{request} HTTP/1.1\r\nHost: images.test\r\n{token}"
        head += "".join(f"{header}\r\n" for header in headers) + "\r\n"
        self.socket.sendall(head.encode() + body)

    def read_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self._file.readline().rstrip().decode():
            name, _, text = line.partition(": ")
            headers[name.lower()] = text
        return status, headers

    def read(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer."""
        status, headers = self.read_head()
        return status, headers, self._file.read(int(headers.get("content-length", "0")))

    def read_rest(self) -> bytes:
        """All that comes until the server closes."""
        return self._file.read()

    def hang_up(self) -> None:
        """Close so that the other side gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self._file.close()
        self.socket.close()
