"""Targets of measures: an endpoint, its processes, and how it is started and scrubbed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from bench.client import connected, probe
from bench.endpoint import Endpoint
from bench.process_tree import ProcessTree
from bench.programs import Program, reserve_port, run
from bench.sizes import GIB

IMAGE_RECORD = b'{"name": "bench", "disk_format": "raw", "container_format": "bare"}'


@dataclass(slots=True)
class ResourceUsage:
    """What a timed block cost."""

    seconds: float = 0
    cpu_seconds: float | None = None
    peak_mib: float | None = None

    def of_transfer(self, size_bytes: int) -> dict[str, float | None]:
        """The figures of a transfer: MB/s, seconds of the processors per GiB, peak in MiB."""
        return {
            "speed": size_bytes / self.seconds / 1e6,
            "cpu": self.cpu_seconds and self.cpu_seconds * GIB / size_bytes,
            "peak": self.peak_mib,
        }


@dataclass(slots=True)
class BenchTarget:
    """One column of the table."""

    name: str
    endpoint: Endpoint
    folder: Path  # on the disk that is levelled
    pids: tuple[int, ...] = ()  # besides the program's
    program: Program | None = None  # what the bench starts itself
    scrub: Sequence[str] = ()  # a command that frees what was deleted; empty: the server does
    kept: dict[str, str] = field(default_factory=dict)  # ids that measures made beforehand
    origin: Endpoint | None = None  # where it may fetch from; no server runs until a measure is
    catalog: str = ""  # its URL; empty: a file, or not known

    @property
    def tree(self) -> ProcessTree | None:
        """The processes, if any are known."""
        own = (self.program.pid,) if self.program else ()
        return ProcessTree((*own, *self.pids)) if own or self.pids else None

    @contextmanager
    def watched(self) -> Iterator[ResourceUsage]:
        """Time a block, and what the server's processes spend in it."""
        tree, spent = self.tree, ResourceUsage()
        if tree:
            tree.reset_peak()
        before = tree.cpu_seconds() if tree else 0
        began = perf_counter()
        yield spent
        spent.seconds = perf_counter() - began
        if tree:
            spent.cpu_seconds = tree.cpu_seconds() - before
            spent.peak_mib = tree.peak_mib()

    async def migrate(self) -> None:
        """Prepare its catalog, which is new."""
        if self.program is not None:
            command, _, *options = self.program.command
            await run([command, "migrate", *options])

    async def new_image(self) -> str:
        """An image without data."""
        async with connected(self.endpoint) as client:
            return await client.create(IMAGE_RECORD)

    async def delete(self, image_ids: Sequence[str]) -> None:
        """Delete images."""
        async with connected(self.endpoint) as client:
            for image_id in image_ids:
                await client.delete(image_id)

    async def forget(self, image_ids: Sequence[str]) -> None:
        """Delete images, and have their bytes gone."""
        await self.delete(image_ids)
        await self.free()

    async def free(self) -> None:
        """Have the bytes of what was deleted gone."""
        if self.scrub:
            await run(self.scrub)


@asynccontextmanager
async def running(contender: BenchTarget) -> AsyncIterator[BenchTarget]:
    """Start what the bench starts itself, learn the server's ways, and stop it at the end."""
    try:
        if contender.program:
            await contender.program.start()
        await probe(contender.endpoint)
        yield contender
    finally:
        if contender.program:
            await contender.program.stop()


def new_folder(folder: Path, name: str) -> Path:
    """A folder of one round of a measure."""
    place = folder / f"{name}-{len(list(folder.glob(f'{name}-*')))}"
    place.mkdir()
    return place


def imaged(
    folder: Path,
    catalog: str = "",
    *,
    auth: str = 'method = "none"',
    token: str = "",
    processes: int = 1,
    store: str = "",
    more: str = "",
) -> BenchTarget:
    """The daemon of this environment, with a new folder, and a new SQLite file or ``catalog``.

    ``auth``: the lines of its section; ``token``: what is sent with each request; ``processes``:
    how many of it answer; ``store``: the lines of another store's section; ``more``: further
    sections of its configuration.
    """
    (folder / "images").mkdir(parents=True)
    port, origin = reserve_port(), Endpoint("127.0.0.1", reserve_port())
    config = folder / "imaged.toml"
    folder_store = f'type = "filesystem"\npath = "{folder}/images"\nmin_free = "0"'
    config.write_text(
        f"""
        [api]
        bind = ["127.0.0.1:{port}"]
        processes = {processes}
        [auth]
        {auth}
        [catalog]
        url = "{catalog or f"sqlite:///{folder}/catalog.db"}"
        [stores]
        default = "local"
        [stores.local]
        {store or folder_store}
        [scrubber]
        delay = "0"
        every = "0"
        [tasks]
        concurrency = 8
        poll_every = "200ms"
        key_file = "{folder}/task.key"
        [fetch]
        allow = ["127.0.0.0/8"]
        ports = [{origin.port}]
        [conversion]
        scratch = "{folder}/scratch"
        [log]
        level = "warning"
        """
        + more
    )
    headers = (f"X-Auth-Token: {token}",) if token else ()
    endpoint = Endpoint("127.0.0.1", port, headers=headers)
    command = str(Path(sys.executable).with_name("imaged"))
    return BenchTarget(
        "imaged",
        endpoint,
        folder,
        program=Program([command, "serve", "--config", str(config)], endpoint, folder / "log"),
        scrub=[command, "scrub", "--once", "--config", str(config)],
        origin=origin,
        catalog=catalog,
    )
