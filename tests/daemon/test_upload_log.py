"""Log lines of a real daemon about uploads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from support.command import ServerProcess, Workspace, serving

MOST_LINES = 3
IMAGE = {"name": "i", "disk_format": "raw", "container_format": "bare"}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ServerProcess]:
    """A daemon with the default log settings."""
    with serving(Workspace(tmp_path).write()) as daemon:
        daemon.wait_for("daemon.started")
        yield daemon


def upload(connection: HTTPConnection, data: bytes, *, chunked: bool) -> str:
    """Create an image, upload its data, and return its id."""
    connection.request(
        "POST", "/v2/images", json.dumps(IMAGE), {"Content-Type": "application/json"}
    )
    image_id: str = json.loads(connection.getresponse().read())["id"]
    connection.request(
        "PUT",
        f"/v2/images/{image_id}/file",
        iter([data]) if chunked else data,
        {"Content-Type": "application/octet-stream"},
        encode_chunked=chunked,
    )
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 204
    return image_id


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_is_three_lines(daemon: ServerProcess, chunked: bool) -> None:
    """Create, begin and end are logged with their ids; reads are not logged."""
    before = len(daemon.lines())
    connection = daemon.connect()
    image_id = upload(connection, b"x" * 3_000_000, chunked=chunked)
    connection.request("GET", f"/v2/images/{image_id}/file")
    assert len(connection.getresponse().read()) == 3_000_000
    daemon.end()

    lines = [line for line in daemon.events()[before:] if not line["event"].startswith("daemon.")]
    assert len(lines) <= MOST_LINES
    assert [line["to_status"] for line in lines] == ["queued", "saving", "active"]
    assert {line["image_id"] for line in lines} == {image_id}
    assert {line["project_id"] for line in lines} == {"admin"}
    assert all(line["request_id"].startswith("req-") for line in lines)
    _, began, ended = lines
    assert began["claim_id"] == ended["claim_id"]
    assert began["request_id"] == ended["request_id"]
