"""Events reach a real receiver, the one of the how-to, however often it and a daemon are killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from imaged.catalogs.connect import open_catalog
from imaged.core.history import Action
from imaged.core.notification import IMAGE_EVENTS
from support.backend import Backend
from support.client import Client
from support.daemon import Daemon
from support.event_receiver import OTHER_SECRET, SECRET
from support.metrics_socket import figures, metrics_settings
from support.ports import reserve_port
from support.waiting import until

PAGE = Path(__file__).parents[2] / "docs/how-to/send-notifications.md"
CLIENTS = 4
EVENTS_BETWEEN_KILLS = 15
FAILED = "imaged_notifications_total/failed"
PATCH_TYPE = {"Content-Type": "application/openstack-images-v2.1-json-patch"}

pytestmark = [pytest.mark.asyncio, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class Receiver:
    """The receiver of the page, as a process that can be killed."""

    folder: Path
    port: int = field(default_factory=reserve_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        """Write what its operator would write."""
        (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        (self.folder / "receiver.py").write_text(program)
        self.secret_file.write_text(f"{SECRET}\n")

    @property
    def secret_file(self) -> Path:
        """Its secret, which the daemons read too."""
        return self.folder / "webhook-secret"

    @property
    def settings(self) -> Mapping[str, Mapping[str, object]]:
        """The section of a daemon that sends to it."""
        return {
            "notifications": {
                "url": f"http://127.0.0.1:{self.port}/events",
                "secret_file": str(self.secret_file),
                "timeout": "1s",
                "poll_every": "100ms",
                "concurrency": 4,
            }
        }

    def start(self) -> None:
        """Start it; the log has what it says of requests."""
        program, database = self.folder / "receiver.py", self.folder / "events.db"
        with (self.folder / "receiver.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, program, str(self.port), self.secret_file, database],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def received(self) -> Sequence[tuple[str, str, dict[str, Any]]]:
        """The subject, the type and the event of each one, in the order in which they came."""
        with suppress(sqlite3.OperationalError):  # it has not made its table yet
            db = sqlite3.connect(f"file:{self.folder / 'events.db'}?mode=ro", uri=True)
            rows = db.execute("SELECT subject, type, event FROM events ORDER BY rowid").fetchall()
            db.close()
            return [(subject, kind, json.loads(event)) for subject, kind, event in rows]
        return []


async def change_images(url: str, rounds: int, created: set[str]) -> None:
    """The lives of some images. A daemon may be killed meanwhile: then the next one begins."""
    patch = b'[{"op": "add", "path": "/seen", "value": "yes"}]'
    async with Client(url) as client:
        for number in range(rounds):
            with suppress(aiohttp.ClientError, TimeoutError):
                image_id = await client.create(name=f"n{number}")
                created.add(image_id)
                path = f"/v2/images/{image_id}"
                await client.request("PATCH", path, data=patch, headers=PATCH_TYPE)
                await client.put(image_id, os.urandom(10_000))
                await client.request("PUT", f"{path}/tags/seen")
                if number % 2:
                    await client.delete(image_id)
            await asyncio.sleep(0.05)


async def receives_more(receiver: Receiver) -> None:
    """Wait until some more events have come."""
    seen = len(receiver.received())

    async def has_more() -> bool:
        return len(receiver.received()) >= seen + EVENTS_BETWEEN_KILLS

    await until(has_more, "the receiver got no more events", within_seconds=60)


async def kill_receiver(receiver: Receiver, times: int) -> None:
    """Kill it each time that it has received some more events, and start it again when one has
    failed meanwhile.
    """
    for _ in range(times):
        await receives_more(receiver)
        receiver.kill()
        before = (await figures(receiver.folder))[FAILED]

        async def has_failed(before: float = before) -> bool:
            return (await figures(receiver.folder))[FAILED] > before

        await until(has_failed, "no event failed while the receiver was away", within_seconds=60)
        receiver.start()


async def kill_daemon(daemon: Daemon, receiver: Receiver, times: int) -> None:
    """Kill a daemon while it sends, and start it again."""
    for _ in range(times):
        await receives_more(receiver)
        await daemon.end(signal.SIGKILL)
        await daemon.start()


@pytest.mark.parametrize(
    "kills", [pytest.param(2, id="2 kills"), pytest.param(20, marks=pytest.mark.nightly)]
)
async def test_a_receiver_that_is_killed_gets_each_event(
    backend: Backend, tmp_path: Path, kills: int
) -> None:
    """At least once, in order for each image, signed; a daemon is killed too. Nothing waits
    afterwards.
    """
    receiver, created = Receiver(tmp_path), set[str]()
    counting = {**receiver.settings, "metrics": metrics_settings(tmp_path)}  # it is not killed
    daemons = [
        Daemon(tmp_path, settings, name=f"daemon{number}", on=backend)
        for number, settings in enumerate([counting, receiver.settings])
    ]
    receiver.start()
    try:
        for daemon in daemons:
            await daemon.start()
        async with asyncio.TaskGroup() as tasks:
            for daemon in daemons:
                for _ in range(CLIENTS):
                    tasks.create_task(change_images(daemon.url, 4 * kills, created))
            tasks.create_task(kill_receiver(receiver, kills))
            tasks.create_task(kill_daemon(daemons[1], receiver, max(1, kills // 4)))
        await nothing_waits(daemons[0])
        expected = await events_of_histories(daemons[0], receiver, created)
    finally:
        receiver.kill()
        for daemon in daemons:
            await daemon.end()
    found = defaultdict[str, list[str]](list)
    for subject, kind, _ in receiver.received():
        found[subject.removeprefix("images/")].append(kind.removeprefix("org.openstack."))
    assert found == expected
    assert len(found) >= CLIENTS * kills
    assert " 401 " not in (tmp_path / "receiver.log").read_text()  # each signature was right


async def test_a_reload_begins_and_ends_it(tmp_path: Path) -> None:
    """A receiver that is configured later gets what changes from then on, signed by what the file
    has then; a file without a secret is refused, and the old ones go on.
    """
    daemon, receiver = Daemon(tmp_path), Receiver(tmp_path)
    receiver.start()
    try:
        await daemon.start()
        async with Client(daemon.url) as client:
            await client.create(name="before")
            daemon.configure(**receiver.settings)
            receiver.secret_file.write_text(f"{OTHER_SECRET}\n{SECRET}\n")
            daemon.reload()
            await daemon.until_told("config.reloaded")
            receiver.secret_file.write_text(f"{SECRET}\n")  # it knows the old one
            await client.create(name="signed by both")
            await until_received(receiver, ["signed by both"])

            receiver.secret_file.write_text("no secret")
            daemon.reload()
            await daemon.until_told("config.rejected")
            receiver.secret_file.write_text(f"{OTHER_SECRET}\n")  # it knows the new one
            await client.create(name="still by both")
            await until_received(receiver, ["signed by both", "still by both"])

            daemon.configure(notifications={"url": ""})
            daemon.reload()
            await daemon.until_told("config.reloaded", times=2)
            await client.create(name="after")
            await nothing_waits(daemon)
    finally:
        receiver.kill()
        await daemon.end()
    assert names_of(receiver) == ["signed by both", "still by both"]


def names_of(receiver: Receiver) -> list[object]:
    """The names of the images that it was told of."""
    return [event["data"]["payload"]["name"] for _, _, event in receiver.received()]


async def until_received(receiver: Receiver, names: list[object]) -> None:
    """Wait until it was told of these images."""

    async def is_told() -> bool:
        return names_of(receiver) == names

    await until(is_told, lambda: f"it was told of {names_of(receiver)}")


async def nothing_waits(daemon: Daemon) -> None:
    """Wait until the outbox is empty."""

    async def is_empty() -> bool:
        code, printed, _ = await daemon.command("status", "--json", "--config", str(daemon.config))
        assert code == 0
        waiting: int = json.loads(printed)["notifications"]["waiting"]
        return waiting == 0

    await until(is_empty, "events still wait", within_seconds=90)


async def events_of_histories(
    daemon: Daemon, receiver: Receiver, created: set[str]
) -> Mapping[str, list[str]]:
    """The events that the images' own histories say that there must be; those of images too whose
    creation had no answer.
    """
    catalog = await open_catalog(str(daemon.backend.sections["catalog"]["url"]))
    try:
        images = created | {one.removeprefix("images/") for one, _, _ in receiver.received()}
        histories = [await catalog.get_history(image_id) for image_id in sorted(images)]
    finally:
        await catalog.close()
    return {
        history.image.id: [
            str(kind) for entry in history.entries for kind in IMAGE_EVENTS[Action(entry.action)]
        ]
        for history in histories
    }
