"""``/metrics`` of processes: at which addresses, for which roles, and through which troubles."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.command import DEADLINE_SECONDS, Place, Serving, serving
from support.daemon import free_port
from support.waiting import wait_until

Series = dict[tuple[str, tuple[str, ...]], float]


class UnixConnection(HTTPConnection):
    """HTTP by a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty place."""
    return Place(tmp_path)


def read(connection: HTTPConnection) -> Series:
    """The page, by names and the values of labels in the order of their names."""
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
    """Read the page until a series has this value."""
    found: list[Series] = []

    def is_so() -> bool:
        found[:] = [read(connection)]
        return found[0].get((name, labels)) == value

    wait_until(is_so, lambda: found[0].get((name, labels)), DEADLINE_SECONDS)
    return found[0]


def create_and_upload(daemon: Serving, data: bytes) -> str:
    """An image with data; its id."""
    body = b'{"name": "new", "disk_format": "raw", "container_format": "bare"}'
    _, answer = daemon.ask("/v2/images", "POST", body, Content_Type="application/json")
    image_id = answer.decode().split('"id":')[1].split('"')[1]
    path = f"/v2/images/{image_id}/file"
    assert daemon.ask(path, "PUT", data, Content_Type="application/octet-stream")[0] == 204
    assert daemon.ask(path) == (200, data)
    return image_id


def test_an_upload_and_a_download_are_seen_everywhere(place: Place) -> None:
    """By the API, by the services, by the store and by the catalog."""
    with serving(place.write()) as daemon:
        create_and_upload(daemon, b"hello")
        series = read(daemon.connect())

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


def test_a_verification_is_seen(place: Place) -> None:
    """That it ended and how long it took, and what it found: by instance, and by the catalog."""
    with serving(place.write()) as daemon:
        image_id = create_and_upload(daemon, b"hello")
        (blob,) = (path for path in place.images.rglob("*") if path.is_file())
        blob.chmod(0o600)
        blob.write_bytes(b"hallo")
        asked = json.dumps({"type": "verify", "input": {"image_id": image_id}}).encode()
        assert daemon.ask("/v2/tasks", "POST", asked)[0] == 201
        until(daemon.connect(), "imaged_tasks_ended_total", 1, "success", "verify")
        series = until(daemon.connect(), "imaged_damaged_images", 1)

    assert series["imaged_task_seconds_count", ()] == 1
    assert series["imaged_last_verify_timestamp_seconds", ()] > 1.7e9
    assert series["imaged_tasks_ended_total", ("failure", "verify")] == 0
    assert series["imaged_tasks", ("pending", "verify")] == 0
    assert series["imaged_oldest_pending_task_seconds", ("import",)] == 0


def test_addresses_of_their_own(place: Place) -> None:
    """By TCP and by a unix socket; the API has no such page then."""
    port, path = free_port(), place.folder / "metrics.sock"
    more = f'[metrics]\nbind = ["127.0.0.1:{port}", "unix:{path}"]'
    with serving(place.write(more)) as daemon:
        assert daemon.ask("/metrics")[0] == 300
        for connection in (HTTPConnection("127.0.0.1", port), UnixConnection(path)):
            assert read(connection)["imaged_ready", ()] == 1
        assert daemon.end() == 0

    assert not path.exists()


def test_a_taken_address_is_told(place: Place) -> None:
    """At the start, as for any other."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        place.write(f'[metrics]\nbind = ["{address}"]')
        done = place.imaged("serve")

    assert done.returncode != 0
    assert f"Cannot listen on {address}" in done.stderr


def test_nowhere(place: Place) -> None:
    """Whoever wants none has none."""
    with serving(place.write("[metrics]\nbind = []")) as daemon:
        assert daemon.ask("/metrics")[0] == 300


def test_a_scrubber_has_a_page_too(place: Place) -> None:
    """At an address of its own; what it does is told, and it has no requests to count."""
    path = place.folder / "metrics.sock"
    place.write(f'[metrics]\nbind = ["api", "unix:{path}"]\n[scrubber]\nevery = "100ms"')
    with serving(place.file, "scrub") as daemon:
        daemon.wait_for("daemon.started")
        series = read(UnixConnection(path))

        assert series["imaged_ready", ()] == 1
        assert series["imaged_http_connections", ()] == 0
        assert ("imaged_duty_failures_total", ("scrubber",)) in series
        assert daemon.end() == 0


def test_a_rejected_reload_is_seen(place: Place) -> None:
    """Until the next one that is applied."""
    with serving(place.write()) as daemon:
        name = "imaged_config_last_reload_successful"
        assert read(daemon.connect())[name, ()] == 1

        place.write("[scrubber]\ndelay = 'tomorrow'")
        daemon.reload()
        until(daemon.connect(), name, 0)

        place.write("[scrubber]\ndelay = '2h'")
        daemon.reload()
        until(daemon.connect(), name, 1)


def test_a_broken_catalog_does_not_break_the_page(place: Place) -> None:
    """It is down, and is told to be; what the process knows by itself is there."""
    with serving(place.write('[claims]\nlease = "3s"\nrenew_every = "1s"')) as daemon:
        create_and_upload(daemon, b"hello")
        with closing(sqlite3.connect(place.catalog)) as db:
            db.execute("ALTER TABLE claims RENAME TO lost")
        series = until(daemon.connect(), "imaged_catalog_up", 0)

    assert series["imaged_transfers_total", ("upload", "completed")] == 1
    assert series["imaged_catalog_errors_total", ("read",)] >= 1
    assert not [name for name, _ in series if name == "imaged_images"]
