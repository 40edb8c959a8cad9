"""``/metrics`` of daemons: addresses, roles, and failures of parts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.request import urlopen

import anyio

from imaged.daemon.metrics_endpoint import allowed_names
from imaged.server.settings import TcpAddress, UnixAddress
from support.command import ServerProcess, Workspace, blobs, serving
from support.imaged_process import COMMAND_TIMEOUT_SECONDS
from support.metrics_socket import figures
from support.ports import reserve_port
from support.waiting import wait_until


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


def read(workspace: Workspace) -> dict[str, float]:
    """The figures of its daemon."""
    return anyio.run(figures, workspace.folder)


def until(workspace: Workspace, name: str, value: float) -> dict[str, float]:
    """Read the page until a series has the value."""
    found: dict[str, float] = {}

    def is_so() -> bool:
        found.update(read(workspace))
        return found.get(name) == value

    wait_until(is_so, lambda: found.get(name), COMMAND_TIMEOUT_SECONDS)
    return found


def transfer(daemon: ServerProcess) -> str:
    """Upload an image and download it; its id."""
    image_id = daemon.create_image()
    assert daemon.upload(image_id, b"hello") == 204
    assert daemon.ask(f"/v2/images/{image_id}/file") == (200, b"hello")
    return image_id


def test_an_upload_and_a_download_are_seen_everywhere(workspace: Workspace) -> None:
    """API, services, store and catalog all count an upload."""
    with measured(workspace) as daemon:
        transfer(daemon)
        series = read(workspace)

    assert series["imaged_transfers_total/upload/completed"] == 1
    assert series["imaged_transfers_total/download/completed"] == 1
    assert series["imaged_transferred_bytes_total/upload"] == 5
    assert series["imaged_transferred_bytes_total/download"] == 5
    assert series["imaged_http_requests_total/2xx/data"] == 2
    assert series["imaged_store_operation_seconds_count/put/local"] == 1
    assert series["imaged_store_operation_seconds_count/open/local"] == 1
    assert series["imaged_catalog_transaction_seconds_count/write"] >= 3
    assert series["imaged_images/active"] == 1
    assert series["imaged_blob_bytes/kept/local"] == 5
    assert series["imaged_store_size_bytes/local"] > series["imaged_store_free_bytes/local"] > 0
    assert series["imaged_store_min_free_bytes/local"] == 0
    assert series["imaged_http_request_duration_seconds_count/204/data"] == 1
    assert series["process_open_fds/daemon"] > 0
    assert series["imaged_transfer_budget_limit_bytes"] == 256 * 1024**2
    assert series["imaged_ready"] == 1
    assert series["imaged_catalog_up"] == 1
    assert series["imaged_instances/here"] == 1
    assert series["imaged_http_connections"] >= 1
    assert series["imaged_http_connections_ended_total/slow_body"] == 0


def test_a_verification_is_seen(workspace: Workspace) -> None:
    """A task's end, duration and findings are counted by the instance and the catalog."""
    with measured(workspace) as daemon:
        image_id = transfer(daemon)
        (blob,) = blobs(workspace.images)
        blob.chmod(0o600)
        blob.write_bytes(b"hallo")
        daemon.create_task("verify", image_id=image_id)
        until(workspace, "imaged_tasks_ended_total/success/verify", 1)
        series = until(workspace, "imaged_damaged_images", 1)

    assert series["imaged_task_seconds_count"] == 1
    assert series["imaged_last_verify_timestamp_seconds"] > 1.7e9
    assert series["imaged_tasks_ended_total/failure/verify"] == 0
    assert series["imaged_tasks/pending/verify"] == 0
    assert series["imaged_oldest_pending_task_seconds/import"] == 0


def test_addresses_of_their_own(workspace: Workspace) -> None:
    """Separate addresses serve the page over TCP and a unix socket; the API does not then."""
    port, path = reserve_port(), workspace.folder / "metrics.sock"
    more = f'[metrics]\nbind = ["127.0.0.1:{port}", "unix:{path}"]'
    with serving(workspace.write(more)) as daemon:
        assert daemon.ask("/metrics")[0] == 404
        assert read(workspace)["imaged_ready"] == 1
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert b"imaged_ready 1" in answer.read()
        assert daemon.end() == 0

    assert not path.exists()


def test_a_name_that_a_web_page_could_have(workspace: Workspace) -> None:
    """It is refused where only this machine connects."""
    port = reserve_port()
    with serving(workspace.write(f'[metrics]\nbind = ["127.0.0.1:{port}"]')) as daemon:
        daemon.wait_for("daemon.started")
        with closing(HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/metrics", headers={"Host": "images.example"})
            assert connection.getresponse().status == 421


def test_names_are_checked_where_only_this_machine_connects() -> None:
    """Other machines use names of their own."""
    local, everywhere = TcpAddress("127.0.0.1", 9293), TcpAddress("0.0.0.0", 9293)
    assert allowed_names([local, UnixAddress(Path("/run/metrics.sock"))]) is not None
    assert allowed_names([local, everywhere]) is None


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
    with serving(write(workspace, '[scrubber]\nevery = "100ms"'), "scrub") as daemon:
        daemon.wait_for("daemon.started")
        series = read(workspace)

        assert series["imaged_ready"] == 1
        assert series["imaged_http_connections"] == 0
        assert series["imaged_http_connections_ended_total/idle"] == 0
        assert "imaged_duty_failures_total/scrubber" in series
        assert daemon.end() == 0


def test_a_rejected_reload_is_seen(workspace: Workspace) -> None:
    """A rejected reload is shown until the next successful one, whose intervals are shown then."""
    with measured(workspace) as daemon:
        name = "imaged_config_last_reload_successful"
        assert read(workspace)[name] == 1

        write(workspace, "[scrubber]\ndelay = 'tomorrow'")
        daemon.reload()
        until(workspace, name, 0)

        write(workspace, "[scrubber]\nevery = '2h'")
        daemon.reload()
        assert until(workspace, name, 1)["imaged_duty_interval_seconds/scrubber"] == 7200


def test_a_broken_catalog_does_not_break_the_page(workspace: Workspace) -> None:
    """A failing catalog is reported as down; metrics of the process remain."""
    with measured(workspace, '[claims]\nlease = "3s"\nrenew_every = "1s"') as daemon:
        transfer(daemon)
        with closing(sqlite3.connect(workspace.catalog)) as db:
            db.execute("ALTER TABLE claims RENAME TO lost")
        series = until(workspace, "imaged_catalog_up", 0)

    assert series["imaged_transfers_total/upload/completed"] == 1
    assert series["imaged_catalog_errors_total/read"] >= 1
    assert not [name for name in series if name.startswith("imaged_images/")]
