"""Log lines of a real daemon about uploads."""

from __future__ import annotations

import pytest

from support.command import OCTETS, Workspace, serving

MOST_LINES = 3
DATA = b"x" * 3_000_000


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_is_three_lines(workspace: Workspace, chunked: bool) -> None:
    """Create, begin and end are logged with their ids; reads are not logged."""
    with serving(workspace.file) as daemon:
        path = f"/v2/images/{daemon.create_image()}/file"
        connection = daemon.connect()
        body = iter([DATA]) if chunked else DATA
        connection.request("PUT", path, body, {"Content-Type": OCTETS}, encode_chunked=chunked)
        assert connection.getresponse().status == 204
        assert daemon.ask(path) == (200, DATA)
        instance = daemon.wait_for("daemon.started")["instance"]
        daemon.end()

    lines = [line for line in daemon.events() if not line["event"].startswith("daemon.")]
    assert len(lines) <= MOST_LINES
    assert [line["event"] for line in lines] == [
        "image.created",
        "image.upload_started",
        "image.uploaded",
    ]
    assert {line["image_id"] for line in lines} == {path.split("/")[3]}
    callers = {(line["user_id"], line["project_id"], line["peer"]) for line in lines}
    assert callers == {("admin", "admin", "127.0.0.1")}
    assert all(line["request_id"].startswith("req-") for line in lines)
    _, began, ended = lines
    assert began["claim_id"] == ended["claim_id"]
    assert began["instance"] == ended["instance"] == instance
    assert began["request_id"] == ended["request_id"]
    assert began.get("announced_bytes") == (None if chunked else len(DATA))
    assert ended["size_bytes"] == len(DATA)
    assert ended["duration_s"] > 0
