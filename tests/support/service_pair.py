"""Two services with images, each a daemon of its own, and a line from one to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imaged.api.authenticator import token_hash
from support.client import Client
from support.daemon import Daemon
from support.task_client import TaskClient
from support.tcp_proxy import TruncatingProxy

SOURCE_TOKEN = "a-made-up-token-of-the-source"


@dataclass(frozen=True)
class ServicePair:
    """Two services that know nothing of each other; the source asks for tokens."""

    source: Daemon
    target: Daemon
    line: TruncatingProxy
    there: Client
    here: Client

    def url_of(self, image_id: str) -> str:
        """Where the target finds an image of the source."""
        return f"http://127.0.0.1:{self.line.port}/v2/images/{image_id}"

    async def begin(self, image_id: str, token: str = SOURCE_TOKEN) -> str:
        """Ask for a clone of it from the source; the task's id."""
        given = {"source_image_url": self.url_of(image_id), "source_token": token}
        return await TaskClient(self.here).ask("clone", **given)

    async def fetch(self, image_id: str, token: str = SOURCE_TOKEN) -> dict[str, Any]:
        """The same; the task, when it has ended."""
        task = await TaskClient(self.here).end_of(await self.begin(image_id, token))
        assert SOURCE_TOKEN not in str(task)
        return task

    def require_forgotten(self) -> None:
        """No file of the target has the token: not the catalog, not its journal, not the log."""
        for path in self.target.folder.rglob("*"):
            if path.is_file():
                assert SOURCE_TOKEN.encode() not in path.read_bytes(), path
        assert SOURCE_TOKEN not in self.source.log_text()


@asynccontextmanager
async def service_pair(folder: Path) -> AsyncIterator[ServicePair]:
    """Both, and the line between them."""
    tokens = folder / "tokens.toml"
    entry = f'[[token]]\nsha256 = "{token_hash(SOURCE_TOKEN)}"\nuser = "u"\nproject = "p"\n'
    tokens.write_text(f'{entry}roles = ["admin"]\n')
    for name in ("source", "target"):
        (folder / name).mkdir()
    source = Daemon(
        folder / "source", {"auth": {"method": "token", "token_file": str(tokens)}}, name="source"
    )
    async with AsyncExitStack() as running:
        line = await running.enter_async_context(TruncatingProxy(source.port).running())
        fetch = {"allow": ["127.0.0.0/8"], "ports": [line.port]}
        log = {"level": "debug", "format": "json"}
        target = Daemon(folder / "target", {"fetch": fetch, "log": log}, name="target")
        for daemon in (source, target):
            await running.enter_async_context(serving(daemon))
        there = await running.enter_async_context(Client(source.url, SOURCE_TOKEN))
        here = await running.enter_async_context(Client(target.url))
        yield ServicePair(source, target, line, there, here)


@asynccontextmanager
async def serving(daemon: Daemon) -> AsyncIterator[Daemon]:
    """A daemon, from its start to its end."""
    await daemon.start()
    try:
        yield daemon
    finally:
        assert await daemon.end() == 0
