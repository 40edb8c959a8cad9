"""How many of our modules a block of a body passes on its way from the socket into a store.

Every module on the way costs time for each block, and has to be read by engineers that change it.
A module counts if its code runs at least once for each block. A coroutine that only waits for
another one does not run: it is resumed, and none of its lines is.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import imaged
from contracts.store_bucket import opened, settings_for
from imaged.core.limits import MIB
from imaged.daemon.web_app import API_HOOKS
from imaged.ports.meter import ignore_measurement
from imaged.ports.store import Store
from imaged.server.server import HttpServer
from imaged.server.settings import ConnectionSettings
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.filesystem.store import FilesystemStore
from imaged.stores.metered import meter_store
from support.seaweedfs import SeaweedFS
from support.server import RawConnection
from support.service import OCTETS, Service
from support.settings import configured
from support.waiting import WAIT_TIMEOUT_SECONDS, wait_until

SOURCES = Path(imaged.__file__).parent
BLOCK = bytes(1 * MIB)  # as large as the blocks that services make of a body
BLOCKS_BEFORE, BLOCKS_COUNTED, BLOCKS_AFTER = 20, 20, 20
PART_BYTES = 8 * MIB  # as configured by default
ENOUGH_RUNS = BLOCKS_COUNTED * 3 // 4  # some counted blocks are still in buffers of the kernel

MAX_TO_FOLDER, MAX_TO_BUCKET = 10, 12

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


class RunCounter:
    """Counts how often code of each module runs, in threads that start in ``in_new_threads``."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.is_counting = False

    @contextmanager
    def in_new_threads(self) -> Iterator[None]:
        """Trace the threads that start during the block."""
        before = threading.gettrace()
        threading.settrace(self._enter)
        try:
            yield
        finally:
            threading.settrace(before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Trace a frame that is called or resumed, until it runs a line."""
        del event, argument
        module = _module_of(frame.f_code.co_filename) if self.is_counting else None
        if module is None:
            return None

        def count(frame: FrameType, event: str, _argument: Any) -> Any:
            if event == "line":
                self.runs[module] += 1
                frame.f_trace_lines = False  # until it is resumed
            return count

        frame.f_trace_lines = True
        return count


@cache
def _module_of(filename: str) -> str | None:
    path = Path(filename)
    return str(path.relative_to(SOURCES)) if path.is_relative_to(SOURCES) else None


class QuietServer(HttpServer):
    """Without the check of all connections, ten times a second, which belongs to no block."""

    async def on_tick(self, counter: int) -> bool:
        """Only see whether to stop."""
        del counter
        return self.should_exit


async def _serve(open_store: OpenStore, listener: socket.socket, ready: list[Any]) -> None:
    async with open_store() as store:
        await store.check()
        service = Service(store=meter_store(store, ignore_measurement))
        server = QuietServer(service.app, configured(ConnectionSettings), API_HOOKS)
        image_id = await service.create()
        ready += [server, image_id]
        await server.serve([listener])


def modules_on_the_way(open_store: OpenStore) -> list[str]:
    """Upload a body, and return the modules that run for each of its blocks."""
    counter = RunCounter()
    ready: list[Any] = []
    listener = socket.create_server(("127.0.0.1", 0))
    serve = threading.Thread(
        target=lambda: asyncio.run(_serve(open_store, listener, ready)), name="server"
    )
    with counter.in_new_threads():
        serve.start()
        try:
            wait_until(lambda: bool(ready) and ready[0].started)
            image_id = ready[1]
            with RawConnection(listener.getsockname()[1]) as client:
                length = len(BLOCK) * (BLOCKS_BEFORE + BLOCKS_COUNTED + BLOCKS_AFTER)
                client.ask(
                    f"PUT /v2/images/{image_id}/file",
                    f"Content-Type: {OCTETS}",
                    f"Content-Length: {length}",
                )
                for _ in range(BLOCKS_BEFORE):
                    client.socket.sendall(BLOCK)
                counter.is_counting = True
                for _ in range(BLOCKS_COUNTED):
                    client.socket.sendall(BLOCK)
                counter.is_counting = False
                for _ in range(BLOCKS_AFTER):
                    client.socket.sendall(BLOCK)
                status, _, body = client.read()
                assert status == 204, body
        finally:
            if ready:
                ready[0].should_exit = True
            serve.join(WAIT_TIMEOUT_SECONDS)
            listener.close()
    return sorted(module for module, runs in counter.runs.items() if runs >= ENOUGH_RUNS)


def test_folder(tmp_path: Path) -> None:
    """From the socket into a file."""

    @asynccontextmanager
    async def folder() -> AsyncIterator[Store]:
        yield FilesystemStore(
            "local", configured(FilesystemSettings, path=tmp_path, min_free_bytes=0)
        )

    modules = modules_on_the_way(folder)

    assert len(modules) <= MAX_TO_FOLDER, modules


def test_bucket(s3: SeaweedFS) -> None:
    """From the socket to an S3 server."""
    modules = modules_on_the_way(
        lambda: opened(settings_for(s3.endpoint, part_size_bytes=PART_BYTES))
    )

    assert len(modules) <= MAX_TO_BUCKET, modules
