"""One service that answers in several processes: what holds when one of them, or all, are ended."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from imaged.process import SWITCH_SECONDS
from support.backdoor import bytes_are_those_of
from support.backend import Backend
from support.client import Client
from support.daemon import Daemon, descendants_of
from support.imaged_process import IMAGED
from support.metrics_socket import figures, metrics_settings
from support.processes import answering, forking, totals_of
from support.service_manager import listening_service_manager
from support.task_client import TaskClient
from support.waiting import until

KILLS = int(os.environ.get("IMAGED_TEST_PROCESS_KILLS", "20"))
UPLOADS = 16
HALF = os.urandom(300_000)
#: How long a client waits until it may send again; for once, the machine of tests may be busy.
QUEUED_SECONDS = 1
#: Far below the lease, after which the work of a silent process would be taken back anyway.
AT_ONCE_SECONDS = 10
LEASE: dict[str, object] = {"lease": "20s", "renew_every": "2s"}

#: Runs imaged, and writes a line about each of some events in each of its processes. The file is
#: opened each time: the process that forks the others closes all descriptors.
LOGS_EVENTS = """
import os, sys

def note(event, arguments):
    if event == {event!r}:
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{{os.getpid()}} {{{value}}}\\n".encode())
        os.close(log)

path = sys.argv.pop(1)
sys.addaudithook(note)
sys.argv[0] = "imaged"
from imaged.cli import main
main()
"""
LOGS_IMPORTS = LOGS_EVENTS.format(event="import", value="arguments[0]")
LOGS_SWITCH_INTERVALS = LOGS_EVENTS.format(event="sqlite3.connect", value="sys.getswitchinterval()")

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """One with two processes that answer; it is not started yet."""
    settings: dict[str, dict[str, object]] = {
        "api": {"processes": 2},
        "claims": LEASE,
        "metrics": metrics_settings(tmp_path),
    }
    daemon = Daemon(tmp_path, settings)
    yield daemon
    await daemon.end(signal.SIGKILL)


class Upload:
    """An upload that stops in the middle until it may go on."""

    def __init__(self, client: Client, image_id: str, last: asyncio.Event) -> None:
        self.image_id = image_id
        self._last = last
        self.sent_half = asyncio.Event()
        self.task = asyncio.create_task(client.put(image_id, self._body(), replaces=True))

    async def _body(self) -> AsyncIterator[bytes]:
        yield HALF
        self.sent_half.set()
        await self._last.wait()
        yield HALF

    async def status(self) -> int | None:
        """How it was answered; None if its connection broke."""
        try:
            return await self.task
        except aiohttp.ClientError:
            return None


async def begin_uploads(client: Client, number: int, last: asyncio.Event) -> list[Upload]:
    """Begin so many uploads; return when all are in the middle."""
    uploads = [Upload(client, await client.create(), last) for _ in range(number)]
    for upload in uploads:
        await client.until_status(upload.image_id, "saving")
        await upload.sent_half.wait()
    return uploads


async def test_a_killed_process_costs_its_own_connections_only(
    backend: Backend, tmp_path: Path
) -> None:
    """Kill -9 of one of them in the middle of uploads: the others end well, the lost ones are
    queued at once, no total falls, and nothing is left over.
    """
    chosen = random.Random(14)
    settings: dict[str, dict[str, object]] = {
        "api": {"processes": 4},
        "claims": LEASE,
        "metrics": metrics_settings(tmp_path),
    }
    daemon = Daemon(tmp_path, settings, on=backend)
    lost, waits = 0, list[float]()
    await daemon.start()
    try:
        async with Client(daemon.url) as client:
            totals = totals_of(await figures(tmp_path))
            for kill in range(KILLS):
                last = asyncio.Event()
                uploads = await begin_uploads(client, UPLOADS, last)
                killed_at = datetime.now(UTC).replace(microsecond=0)  # as the API tells instants
                os.kill(chosen.choice(answering(daemon)), signal.SIGKILL)
                await until_dead(tmp_path, kill + 1)
                last.set()
                for upload in uploads:
                    status = await upload.status()
                    assert status in {204, None}
                    lost += status is None
                    wanted = "active" if status == 204 else "queued"
                    image = await client.until_status(upload.image_id, wanted, AT_ONCE_SECONDS)
                    if status is None:
                        assert "process" in image["imaged_last_failure"]
                        queued_at = datetime.fromisoformat(image["updated_at"])
                        waits.append((queued_at - killed_at).total_seconds())
                        assert await client.put(upload.image_id, b"again", replaces=True) == 204
                before, totals = totals, totals_of(await figures(tmp_path))
                assert {name for name in before if totals.get(name, 0) < before[name]} == set()
                for upload in uploads:
                    assert await client.delete(upload.image_id) == 204
            assert 0 < lost < KILLS * UPLOADS
            assert (await figures(tmp_path))["imaged_claims_taken_back_total"] == lost
            await until(lambda: nothing_left(daemon), "bytes are left", within_seconds=60)
        assert {line["exit_code"] for line in daemon.told("process.ended")} == {-signal.SIGKILL}
        assert median(waits) <= QUEUED_SECONDS
        assert await daemon.end() == 0
    finally:
        await daemon.end(signal.SIGKILL)


async def until_dead(folder: Path, number: int) -> None:
    """Wait until the daemon knows that so many processes have died; the log may count such lines
    instead of writing them.
    """

    async def is_known() -> bool:
        return (await figures(folder))["imaged_process_deaths_total"] == number

    await until(is_known, "the death of a process is not noticed")


async def nothing_left(daemon: Daemon) -> bool:
    """Whether no byte of any image is there."""
    return await bytes_are_those_of(daemon, set())


async def test_a_drain_waits_for_all_processes(daemon: Daemon) -> None:
    """Uploads in flight end well, new connections are refused, and no process is left."""
    await daemon.start()
    assert daemon.process is not None
    pids, last = descendants_of(daemon.process.pid), asyncio.Event()
    async with Client(daemon.url) as client:
        uploads = await begin_uploads(client, 8, last)
        ending = asyncio.create_task(daemon.end())
        await daemon.until_told("daemon.stopping")
        await until(lambda: refuses(daemon), "a stopping daemon accepts connections")
        last.set()
        assert [await upload.status() for upload in uploads] == [204] * 8
    assert await ending == 0
    assert [line["exit_code"] for line in daemon.told("process.ended")] == [0, 0]
    assert daemon.told("daemon.stopping")[0]["in_flight"] == 8
    await until_ended(pids)


async def test_a_second_signal_ends_all_processes_now(daemon: Daemon) -> None:
    """What is in flight is broken off and given back."""
    await daemon.start()
    last = asyncio.Event()
    async with Client(daemon.url) as client:
        uploads = await begin_uploads(client, 4, last)
        process, ending = daemon.process, asyncio.create_task(daemon.end())
        assert process is not None
        await daemon.until_told("daemon.stopping")
        process.send_signal(signal.SIGTERM)
        assert await ending == 0
        assert {await upload.status() for upload in uploads} <= {502, None}
        await daemon.start()
        for upload in uploads:
            assert (await client.show(upload.image_id))["status"] == "queued"


async def test_a_killed_daemon_takes_its_processes_along(daemon: Daemon) -> None:
    """They give back their work and end by themselves; the next start has the address."""
    await daemon.start()
    assert daemon.process is not None
    pids, last = descendants_of(daemon.process.pid), asyncio.Event()
    async with Client(daemon.url) as client:
        uploads = await begin_uploads(client, 4, last)
        daemon.process.kill()
        await until_ended(pids)
        assert {await upload.status() for upload in uploads} <= {502, None}
        await daemon.process.end()
        await daemon.start()
        for upload in uploads:
            image = await client.until_status(upload.image_id, "queued", AT_ONCE_SECONDS)
            assert await client.put(image["id"], b"again", replaces=True) == 204


async def test_without_the_forking_process_the_service_ends(daemon: Daemon) -> None:
    """With an error and its own exit code, so that systemd starts it again; all processes end."""
    await daemon.start()
    assert daemon.process is not None
    process, pids = daemon.process, answering(daemon)
    os.kill(forking(daemon), signal.SIGKILL)

    assert await process.end() == 1
    assert "answering processes" in daemon.log_text()
    await until_ended(pids)


async def test_a_process_that_hangs_is_replaced(daemon: Daemon, tmp_path: Path) -> None:
    """It neither reports nor answers; the others do, and the log says which one was silent. The
    watchdog is not fed meanwhile: if the daemon could not replace it, systemd would.
    """
    with listening_service_manager(tmp_path) as manager:
        watched = [f"NOTIFY_SOCKET={manager.address}", "WATCHDOG_USEC=200000"]
        daemon.program = ["/usr/bin/env", *watched, IMAGED]
        await daemon.start()
        await asyncio.to_thread(manager.wait_for_key, "WATCHDOG")
        hanging = answering(daemon)[0]
        os.kill(hanging, signal.SIGSTOP)
        manager.heard()
        try:
            await daemon.until_told("process.silent")
            fed = [message for message in manager.heard() if "WATCHDOG" in message]
            assert daemon.told("process.silent")[0]["pid"] == hanging
            os.kill(hanging, signal.SIGCONT)  # a stopped process takes no other signal than SIGKILL
            await daemon.until_told("process.started", 3)
            await asyncio.to_thread(manager.wait_for_key, "WATCHDOG")
            assert len(fed) <= 1  # it had responded before it was stopped
            assert daemon.told("process.ended")[0]["exit_code"] == -signal.SIGABRT
            assert "Fatal Python error: Aborted" in daemon.log_text()
            assert await daemon.end() == 0
        finally:
            await daemon.end(signal.SIGKILL)


async def test_libraries_are_loaded_before_the_fork(backend: Backend, tmp_path: Path) -> None:
    """Once, in memory that is shared: the processes that answer load none of their own."""
    log = tmp_path / "imports"
    program = (sys.executable, "-c", LOGS_IMPORTS, str(log))
    settings: dict[str, dict[str, object]] = {"api": {"processes": 2}, "claims": LEASE}
    daemon = Daemon(tmp_path, settings, on=backend, program=program)
    try:
        await daemon.start()
        pids = {str(pid) for pid in answering(daemon)}
        async with Client(daemon.url) as client:
            uploads = [upload_of(client, 1024) for _ in range(8)]
            assert set(await asyncio.gather(*uploads)) == {204}
            assert len(await client.list_all()) == len(uploads)
        imports = [line.split() for line in log.read_text().splitlines()]
        loaded = {name.partition(".")[0] for pid, name in imports if pid in pids}
        assert loaded <= sys.stdlib_module_names
        assert await daemon.end() == 0
    finally:
        await daemon.end(signal.SIGKILL)


@pytest.mark.parametrize("processes", [1, 2])
async def test_threads_that_compute_make_way_for_requests(tmp_path: Path, processes: int) -> None:
    """After a tenth of the time that Python lets them, in every process that answers."""
    log = tmp_path / "intervals"
    program = (sys.executable, "-c", LOGS_SWITCH_INTERVALS, str(log))
    daemon = Daemon(tmp_path, {"api": {"processes": processes}}, program=program)
    try:
        await daemon.start()
        async with Client(daemon.url) as client:
            await asyncio.gather(*[upload_of(client, 1024) for _ in range(8)])
        seconds = dict(line.split() for line in log.read_text().splitlines())  # the last of each
        assert daemon.process is not None
        answers = answering(daemon) if processes > 1 else [daemon.process.pid]
        assert {seconds[str(pid)] for pid in answers} == {str(SWITCH_SECONDS)}
        assert await daemon.end() == 0
    finally:
        await daemon.end(signal.SIGKILL)


async def test_a_reload_reaches_every_process(daemon: Daemon) -> None:
    """Before the log tells that it is done; and also one that is started later."""
    await daemon.start()
    daemon.configure(uploads={"max_size": "1KiB"})
    daemon.reload()
    await daemon.until_told("config.reloaded")
    async with Client(daemon.url) as client:
        assert {await upload_of(client, 2048) for _ in range(12)} == {413}
        for pid in answering(daemon):
            os.kill(pid, signal.SIGKILL)
        await daemon.until_told("process.started", 4)
        await daemon.wait_ready()
        assert {await upload_of(client, 2048) for _ in range(12)} == {413}


async def test_a_rejected_reload_is_told_by_every_process(daemon: Daemon) -> None:
    """/readyz warns of it, whichever process answers."""
    await daemon.start()
    daemon.configure(uploads={"max_size": "nonsense"})
    daemon.reload()
    await daemon.until_told("config.rejected")
    async with Client(daemon.url) as client:

        async def is_told_everywhere() -> bool:
            answers = [await client.request("GET", "/readyz") for _ in range(12)]
            return all(status == 200 and b"rejected" in body for status, body in answers)

        await until(is_told_everywhere, "a process does not know of it")


async def test_a_process_leaves_tasks_to_instances_that_have_the_role(daemon: Daemon) -> None:
    """Also a brief one, which would begin beside requests as soon as it is accepted."""
    daemon.configure(daemon={"roles": ["api", "scrubber"]})
    await daemon.start()
    async with Client(daemon.url) as client:
        image_id = await client.create()
        assert await client.put(image_id, b"shared") == 204
        task_id = await TaskClient(client).ask("clone", image_id=image_id)
        assert await daemon.end() == 0  # after all that has begun
        await daemon.start()
        assert (await TaskClient(client).show(task_id))["status"] == "pending"


async def test_limits_of_connections_hold_for_all_processes(daemon: Daemon) -> None:
    """However they are spread; one that closes makes room, and so does a process that dies."""
    daemon.configure(api={"max_connections": 8, "max_connections_per_address": 6})
    await daemon.start()
    most = 6

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except ConnectionResetError:  # it was refused before it wrote
            return reader, writer, 503
        return reader, writer, int(head.split()[1])

    async def is_accepted_again() -> bool:
        _, writer, status = await connect()
        writer.close()
        return status == 200

    opened: list[Any] = [await connect() for _ in range(most)]
    assert [status for _, _, status in opened] == [200] * most
    for _ in range(10):
        _, writer, status = await connect()
        assert status == 503
        writer.close()
    opened.pop()[1].close()
    await until(is_accepted_again, "a closed connection makes no room")
    for pid in answering(daemon):
        os.kill(pid, signal.SIGKILL)
    await until(is_accepted_again, "connections of dead processes are counted")
    for _, writer, _ in opened:
        writer.close()


async def test_a_unix_socket_is_shared(daemon: Daemon, tmp_path: Path) -> None:
    """It is there while one process lives, and gone afterwards; metrics are those of all."""
    path = tmp_path / "api.sock"
    daemon.configure(api={"bind": [f"127.0.0.1:{daemon.port}", f"unix:{path}"]})
    await daemon.start()
    os.kill(answering(daemon)[0], signal.SIGKILL)
    await daemon.until_told("process.started", 3)
    for _ in range(20):
        connector = aiohttp.UnixConnector(str(path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://localhost/v2/images") as answer,
        ):
            assert answer.status == 200

    async def all_counted() -> bool:
        return (await figures(tmp_path))["imaged_http_requests_total/2xx/read"] == 20

    await until(all_counted, "the requests of a process are missing")
    assert await daemon.end() == 0
    assert not path.exists()


async def upload_of(client: Client, size_bytes: int) -> int:
    """How an upload of so many bytes is answered."""
    return await client.put(await client.create(), bytes(size_bytes))


async def refuses(daemon: Daemon) -> bool:
    """Whether it accepts no connections."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def until_ended(pids: list[int]) -> None:
    """Wait until none of these processes runs."""

    async def have_ended() -> bool:
        return not [pid for pid in pids if runs(pid)]

    await until(have_ended, "processes are left")


def runs(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
