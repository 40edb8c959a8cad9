"""``/metrics`` of daemons: addresses, roles, and failures of parts."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from imaged.core.place_marker import MARKER_NAME
from support.command import ServerProcess, Workspace, serving
from support.imaged_process import COMMAND_TIMEOUT_SECONDS
from support.ports import reserve_port
from support.waiting import wait_until

Series = dict[tuple[str, tuple[str, ...]], float]


class UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=COMMAND_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the path of the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder with a catalog and a store."""
    return Workspace(tmp_path)


def write(workspace: Workspace, more: str = "") -> Path:
    """Write a configuration with a separate socket for metrics."""
    return workspace.write(
        f'[metrics]\nbind = ["unix:{workspace.folder / "metrics.sock"}"]\n{more}'
    )


@contextmanager
def measured(workspace: Workspace, more: str = "") -> Iterator[ServerProcess]:
    """A daemon that serves metrics."""
    with serving(write(workspace, more)) as daemon:
        daemon.wait_for("daemon.started")
        yield daemon


def page(workspace: Workspace) -> UnixConnection:
    """The socket of the metrics."""
    return UnixConnection(workspace.folder / "metrics.sock")


def read(connection: HTTPConnection) -> Series:
    """Return the page by series names and label values, sorted by label."""
    with closing(connection):
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        page = answer.read().decode()
    assert answer.status == 200, page
    return {
        (sample.name, tuple(text for _, text in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def until(connection: HTTPConnection, name: str, value: float, *labels: str) -> Series:
    """Read the page until a series has the value."""
    found: list[Series] = []

    def is_so() -> bool:
        found[:] = [read(connection)]
        return found[0].get((name, labels)) == value

    wait_until(is_so, lambda: found[0].get((name, labels)), COMMAND_TIMEOUT_SECONDS)
    return found[0]


def create_and_upload(daemon: ServerProcess, data: bytes) -> str:
    """Create an active image, and return its id."""
    body = b'{"name": "new", "disk_format": "raw", "container_format": "bare"}'
    _, answer = daemon.ask("/v2/images", "POST", body, Content_Type="application/json")
    image_id = answer.decode().split('"id":')[1].split('"')[1]
    path = f"/v2/images/{image_id}/file"
    assert daemon.ask(path, "PUT", data, Content_Type="application/octet-stream")[0] == 204
    assert daemon.ask(path) == (200, data)
    return image_id


def test_an_upload_and_a_download_are_seen_everywhere(workspace: Workspace) -> None:
    """API, services, store and catalog all count an upload."""
    with measured(workspace) as daemon:
        create_and_upload(daemon, b"hello")
        series = read(page(workspace))

    assert series["imaged_transfers_total", ("upload", "completed")] == 1
    assert series["imaged_transfers_total", ("download", "completed")] == 1
    assert series["imaged_transferred_bytes_total", ("upload",)] == 5
    assert series["imaged_transferred_bytes_total", ("download",)] == 5
    assert series["imaged_http_requests_total", ("2xx", "data")] == 2
    assert series["imaged_store_operation_seconds_count", ("put", "local")] == 1
    assert series["imaged_store_operation_seconds_count", ("open", "local")] == 1
    assert series["imaged_catalog_transaction_seconds_count", ("write",)] >= 3
    assert series["imaged_images", ("active",)] == 1
    assert series["imaged_blob_bytes", ("kept", "local")] == 5
    assert series["imaged_store_free_bytes", ("local",)] > 0
    assert series["imaged_transfer_budget_limit_bytes", ()] == 256 * 1024**2
    assert series["imaged_ready", ()] == 1
    assert series["imaged_catalog_up", ()] == 1
    assert series["imaged_instances", ("here",)] == 1
    assert series["imaged_http_connections", ()] >= 1
    assert series["imaged_http_connections_ended_total", ("slow_body",)] == 0


def test_a_verification_is_seen(workspace: Workspace) -> None:
    """A task's end, duration and findings are counted by the instance and the catalog."""
    with measured(workspace) as daemon:
        image_id = create_and_upload(daemon, b"hello")
        (blob,) = (
            path
            for path in workspace.images.rglob("*")
            if path.is_file() and path.name != MARKER_NAME
        )
        blob.chmod(0o600)
        blob.write_bytes(b"hallo")
        asked = json.dumps({"type": "verify", "input": {"image_id": image_id}}).encode()
        assert daemon.ask("/v2/tasks", "POST", asked)[0] == 201
        until(page(workspace), "imaged_tasks_ended_total", 1, "success", "verify")
        series = until(page(workspace), "imaged_damaged_images", 1)

    assert series["imaged_task_seconds_count", ()] == 1
    assert series["imaged_last_verify_timestamp_seconds", ()] > 1.7e9
    assert series["imaged_tasks_ended_total", ("failure", "verify")] == 0
    assert series["imaged_tasks", ("pending", "verify")] == 0
    assert series["imaged_oldest_pending_task_seconds", ("import",)] == 0


def test_addresses_of_their_own(workspace: Workspace) -> None:
    """Separate addresses serve the page over TCP and a unix socket; the API does not then."""
    port, path = reserve_port(), workspace.folder / "metrics.sock"
    more = f'[metrics]\nbind = ["127.0.0.1:{port}", "unix:{path}"]'
    with serving(workspace.write(more)) as daemon:
        assert daemon.ask("/metrics")[0] == 404
        for connection in (HTTPConnection("127.0.0.1", port), UnixConnection(path)):
            assert read(connection)["imaged_ready", ()] == 1
        assert daemon.end() == 0

    assert not path.exists()


def test_a_taken_address_is_told(workspace: Workspace) -> None:
    """A taken address stops the start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        workspace.write(f'[metrics]\nbind = ["{address}"]')
        done = workspace.imaged("serve")

    assert done.returncode != 0
    assert f"Cannot listen on {address}" in done.stderr


def test_nowhere_by_default(workspace: Workspace) -> None:
    """The API does not serve the page, not even to local requests."""
    with serving(workspace.write()) as daemon:
        assert daemon.ask("/metrics")[0] == 404


def test_the_token_for_the_addresses_of_the_api(workspace: Workspace) -> None:
    """The token gives access to the page; a reload applies a new token."""
    file = workspace.folder / "metrics.token"
    file.write_text("the-first-token-of-prometheus")
    with serving(workspace.write(f'[metrics]\nbind = ["api"]\ntoken_file = "{file}"')) as daemon:

        def status(token: str) -> int:
            return daemon.ask("/metrics", Authorization=f"Bearer {token}")[0]

        assert daemon.ask("/metrics")[0] == 401
        assert status("the-first-token-of-prometheus") == 200
        file.write_text("the-second-token-of-prometheus")
        daemon.reload()
        wait_until(lambda: status("the-second-token-of-prometheus") == 200)
        assert status("the-first-token-of-prometheus") == 401


def test_a_scrubber_has_a_page_too(workspace: Workspace) -> None:
    """A scrubber serves metrics at a separate address, without metrics of requests."""
    path = workspace.folder / "metrics.sock"
    workspace.write(f'[metrics]\nbind = ["unix:{path}"]\n[scrubber]\nevery = "100ms"')
    with serving(workspace.file, "scrub") as daemon:
        daemon.wait_for("daemon.started")
        series = read(UnixConnection(path))

        assert series["imaged_ready", ()] == 1
        assert series["imaged_http_connections", ()] == 0
        assert series["imaged_http_connections_ended_total", ("idle",)] == 0
        assert ("imaged_duty_failures_total", ("scrubber",)) in series
        assert daemon.end() == 0


def test_a_rejected_reload_is_seen(workspace: Workspace) -> None:
    """A rejected reload is shown until the next successful one."""
    with measured(workspace) as daemon:
        name = "imaged_config_last_reload_successful"
        assert read(page(workspace))[name, ()] == 1

        write(workspace, "[scrubber]\ndelay = 'tomorrow'")
        daemon.reload()
        until(page(workspace), name, 0)

        write(workspace, "[scrubber]\ndelay = '2h'")
        daemon.reload()
        until(page(workspace), name, 1)


def test_a_broken_catalog_does_not_break_the_page(workspace: Workspace) -> None:
    """A failing catalog is reported as down; metrics of the process remain."""
    with measured(workspace, '[claims]\nlease = "3s"\nrenew_every = "1s"') as daemon:
        create_and_upload(daemon, b"hello")
        with closing(sqlite3.connect(workspace.catalog)) as db:
            db.execute("ALTER TABLE claims RENAME TO lost")
        series = until(page(workspace), "imaged_catalog_up", 0)

    assert series["imaged_transfers_total", ("upload", "completed")] == 1
    assert series["imaged_catalog_errors_total", ("read",)] >= 1
    assert not [name for name, _ in series if name == "imaged_images"]
