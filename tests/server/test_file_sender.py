"""Downloads that are not verified: the kernel sends them, and no byte is read into the process."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from contracts.store_folder import store_on
from imaged.core.limits import MIB
from imaged.core.notification import EventType
from imaged.ports.meter import ignore_measurement
from imaged.server.file_sender import SEND_TO, offers
from imaged.server.settings import ConnectionSettings, MinimumRate
from imaged.stores.filesystem.disk import Disk
from imaged.stores.metered import meter_store
from support.server import RawConnection, served, serving
from support.service import Service
from support.settings import configured
from support.waiting import wait_until

BODY = random.Random(7).randbytes(16 * MIB)
HALF = len(BODY) // 2
END = b"the end"


@dataclass
class WatchedDisk(Disk):
    """Counts the bytes that each way moves. ``error``: what sendfile fails with."""

    error: int = 0
    sent: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)

    def sendfile(self, socket: int, file: int, offset: int, length: int) -> int:  # type: ignore[override]
        """Send by the kernel."""
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        self.sent.append(os.sendfile(socket, file, offset, length))
        return self.sent[-1]

    def pread(self, file: int, length: int, offset: int) -> bytes:
        """Read into the process."""
        data = os.pread(file, length, offset)
        self.read.append(len(data))
        return data


@dataclass
class Folder:
    """A service on a folder, whose downloads are not verified, and one image."""

    service: Service
    disk: WatchedDisk
    root: Path
    image_id: str

    @property
    def path(self) -> str:
        """Its data, as clients ask for it."""
        return f"/v2/images/{self.image_id}/file"

    @property
    def file(self) -> Path:
        """Its data, as it is stored."""
        (found,) = self.root.rglob(f"{self.image_id}.*")
        return found

    def events(self) -> Sequence[dict[str, Any]]:
        """What was told of its downloads."""
        asyncio.run(self.service.sent_downloads.write())
        waiting = self.service.facts.outbox.values()
        return [dict(one.event.notification.payload) for one in waiting]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """With sixteen mebibytes."""
    disk = WatchedDisk()
    store = store_on(tmp_path, disk)
    asyncio.run(store.check())
    service = Service(store=meter_store(store, ignore_measurement))
    service.downloads.verify = False
    image_id = asyncio.run(service.create_active(BODY))
    service.facts.wanted_events = frozenset({EventType.IMAGE_SEND})
    disk.read.clear()
    return Folder(service, disk, tmp_path, image_id)


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ((), 200, BODY),
        (("Range: bytes=1-",), 206, BODY[1:]),
        ((f"Range: bytes={HALF}-{HALF + 2}",), 206, BODY[HALF : HALF + 3]),
        (("Range: bytes=-5",), 206, BODY[-5:]),
    ],
)
def test_the_kernel_sends(
    folder: Folder, headers: Sequence[str], status: int, expected: bytes
) -> None:
    """All of it and ranges, several on one connection, and other answers between them."""
    before = folder.service.downloads.traffic.sent_bytes
    with served(folder.service) as port, RawConnection(port) as line:
        for _ in range(2):
            line.ask(f"GET {folder.path}", *headers)
            found, _, body = line.read()
            assert (found, body) == (status, expected)
            line.ask(f"HEAD {folder.path}")
            assert line.read_head()[0] == 200
            line.ask(f"GET /v2/images/{folder.image_id}")
            assert line.read()[0] == 200

    assert not folder.disk.read
    assert sum(folder.disk.sent) == 2 * len(expected)
    assert folder.service.downloads.traffic.sent_bytes - before == 2 * len(expected)
    assert [event["bytes_sent"] for event in folder.events()] == 2 * [len(expected)]


def test_requests_that_wait_for_it(folder: Folder) -> None:
    """Pipelined ones are answered after it, in order."""
    with served(folder.service) as port, RawConnection(port) as line:
        line.ask(f"GET {folder.path}")
        line.ask(f"GET {folder.path}", "Range: bytes=0-0")
        assert line.read()[2] == BODY
        assert line.read()[2] == BODY[:1]


def test_verified_downloads_are_read(folder: Folder) -> None:
    """By default the kernel sends nothing by itself."""
    folder.service.downloads.verify = True
    with served(folder.service) as port, RawConnection(port) as line:
        line.ask(f"GET {folder.path}")
        assert line.read()[2] == BODY
    assert sum(folder.disk.read) == len(BODY)
    assert not folder.disk.sent


def test_a_filesystem_without_sendfile(folder: Folder) -> None:
    """Its bytes are read and written, in the same thread."""
    folder.disk.error = errno.EINVAL
    with served(folder.service) as port, RawConnection(port) as line:
        line.ask(f"GET {folder.path}")
        assert line.read()[2] == BODY


def test_a_client_that_leaves(folder: Folder) -> None:
    """It is told how much was sent; nothing is logged as an error, and no file stays open."""
    with capture_logs() as lines, served(folder.service) as port:
        line = RawConnection(port)
        line.ask(f"GET {folder.path}")
        assert line.read_head()[0] == 200
        line.hang_up()
        wait_until(lambda: folder.service.sent_downloads._collected)
    (event,) = folder.events()
    assert event["bytes_sent"] < len(BODY)
    assert not [line for line in lines if line["log_level"] == "error"]
    assert str(folder.file) not in open_paths()


def test_a_client_that_does_not_read(folder: Folder) -> None:
    """It is slow by the same rule as for other answers, and holds no thread meanwhile."""
    rate = MinimumRate(1024 * MIB, timedelta(seconds=0.2))
    settings = configured(ConnectionSettings, min_rate=rate)
    with (
        serving(folder.service.app, settings, check_interval_seconds=0.05) as (port, server),
        RawConnection(port) as line,
    ):
        line.ask(f"GET {folder.path}")
        wait_until(lambda: server.connections.ended["slow_reader"] == 1)  # type: ignore[index]
        wait_until(lambda: not server.server_state.tasks)


def test_a_stop_does_not_wait_for_a_client_that_does_not_read(folder: Folder) -> None:
    """The connection is closed."""
    settings = configured(ConnectionSettings)
    with (
        serving(folder.service.app, settings) as (port, server),
        RawConnection(port) as line,
    ):
        line.ask(f"GET {folder.path}")
        assert line.read_head()[0] == 200
        server.should_exit = True
        wait_until(server.drained.is_set)
        assert not server.in_flight


@pytest.mark.parametrize("left_bytes", [0, HALF])
def test_a_file_that_was_cut(folder: Folder, left_bytes: int) -> None:
    """Before the first byte it is an error; later the connection ends before the last one."""
    with capture_logs() as lines, served(folder.service) as port, RawConnection(port) as line:
        if not left_bytes:
            os.truncate(folder.file, left_bytes)
            line.ask(f"GET {folder.path}")
            assert line.read_head()[0] in {404, 500, 502, 503}
            return
        line.ask(f"GET {folder.path}")
        assert line.read_head()[0] == 200
        os.truncate(folder.file, left_bytes)
        wait_until(lambda: folder.disk.sent)
        assert len(line.read_rest()) < len(BODY)
    assert [line for line in lines if "lost bytes of" in str(line)]


class Mixed:
    """An application that writes much, and then sends around the transport."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        del receive
        assert SEND_TO in scope["extensions"]
        headers = [(b"content-length", str(len(BODY) + len(END)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY, "more_body": True})
        await send({"type": SEND_TO, "send_to": self._send_to, "count": len(END)})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_to(self, socket: int, length: int) -> int:
        return os.write(socket, END[-length:])


def test_what_was_written_before_comes_first() -> None:
    """Bytes that wait in this process are sent before those that go around the transport."""
    with serving(Mixed(), configured(ConnectionSettings)) as (port, _), RawConnection(port) as line:
        line.ask("GET /")
        assert line.read()[2] == BODY + END


def test_where_a_transport_encrypts() -> None:
    """Nothing goes around it."""
    assert offers({"scheme": "http"})
    assert not offers({"scheme": "https"})


def open_paths() -> set[str]:
    """The files that this process has open."""
    names = os.listdir("/proc/self/fd")  # noqa: PTH208 - names that may be gone
    found = set()
    for name in names:
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))  # noqa: PTH115 - the same
        except OSError:
            continue
    return found
