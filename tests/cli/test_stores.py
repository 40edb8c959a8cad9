"""Commands on a configuration with several stores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imaged.core.place_marker import MARKER_NAME
from support.command import ServerProcess, Workspace, serving
from support.ports import reserve_port

OCTETS = "application/octet-stream"


@pytest.fixture
def far(workspace: Workspace, tmp_path: Path) -> Path:
    """The folder of a second store."""
    folder = tmp_path / "far"
    folder.mkdir()
    workspace.write(f"[stores.far]\ntype = 'filesystem'\npath = '{folder}'\nmin_free = '0'")
    return folder


def upload(daemon: ServerProcess, store: str) -> int:
    """Make an image and put its data into a store; the status."""
    body = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
    image_id = json.loads(daemon.ask("/v2/images", "POST", body)[1])["id"]
    path = f"/v2/images/{image_id}/file"
    return daemon.ask(path, "PUT", b"data", Content_Type=OCTETS, X_Image_Meta_Store=store)[0]


def blobs(folder: Path) -> int:
    """How many files a store has."""
    return sum(path.is_file() and path.name != MARKER_NAME for path in folder.rglob("*"))


def unused_endpoint() -> str:
    """An address without a server."""
    return f"http://127.0.0.1:{reserve_port()}"


def test_a_daemon_has_all_its_stores(workspace: Workspace, far: Path) -> None:
    """They are listed, written and scrubbed, each by its name."""
    with serving(workspace.file, IMAGED_SCRUBBER__DELAY="0") as daemon:
        assert daemon.wait_for("daemon.started")["stores"] == ["local", "far"]
        listed = json.loads(daemon.ask("/v2/info/stores")[1])
        detail = json.loads(daemon.ask("/v2/info/stores/detail")[1])
        statuses = [upload(daemon, name) for name in ("far", "local", "near")]
        status = json.loads(workspace.imaged("status", "--json").stdout)

    assert listed == {"stores": [{"id": "local", "default": "true"}, {"id": "far"}]}
    assert [store["properties"]["data_dir"] for store in detail["stores"]] == [
        str(workspace.images),
        str(far),
    ]
    assert statuses == [204, 204, 400]
    assert (blobs(workspace.images), blobs(far)) == (1, 1)
    assert [(one["store"], one["bytes"]) for one in status["stores"]] == [("far", 4), ("local", 4)]


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_every_store_is_tried(workspace: Workspace, far: Path, command: str) -> None:
    """Not only the default one; check-config reports all problems."""
    far.rmdir()
    workspace.images.rmdir()

    done = workspace.imaged(command)

    told = [path for path in (workspace.images, far) if f"the folder {path}," in done.stderr]
    assert done.returncode == 1
    assert told == ([workspace.images, far] if command == "check-config" else [workspace.images])


@pytest.mark.parametrize("command", ["check-config", "serve", "scrub"])
def test_one_folder_for_two_stores_is_a_problem(
    workspace: Workspace, tmp_path: Path, command: str
) -> None:
    """Found before anything is written."""
    (tmp_path / "link").symlink_to(workspace.images)
    workspace.write(f"[stores.far]\ntype = 'filesystem'\npath = '{tmp_path}/link'")

    done = workspace.imaged(command)

    assert done.returncode == 1
    assert "local and far must not have the same folder" in done.stderr
    assert not workspace.catalog.exists()


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_a_bucket_that_cannot_be_reached_is_a_problem(workspace: Workspace, command: str) -> None:
    """With the store and where it should be, and without its keys."""
    endpoint = unused_endpoint()
    text = f"[stores.cloud]\ntype = 's3'\nbucket = 'images'\nendpoint = '{endpoint}'\nattempts = 1"
    workspace.write(text)

    done = workspace.imaged(
        command,
        IMAGED_STORES__CLOUD__ACCESS_KEY="made-up-canary-access",
        IMAGED_STORES__CLOUD__SECRET_KEY="made-up-canary-secret",
    )

    assert done.returncode == 1
    assert "'cloud'" in done.stderr
    assert endpoint in done.stderr
    assert "canary" not in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_that_cannot_be_read_are_a_problem(workspace: Workspace, tmp_path: Path) -> None:
    """Unreadable keys are reported beside other problems."""
    workspace.images.rmdir()
    file = workspace.write(
        f"[stores.cloud]\ntype = 's3'\nbucket = 'images'\n"
        f"access_key_file = '{tmp_path}/none'\nsecret_key_file = '{tmp_path}/none'"
    )
    workspace.images.rmdir()

    problems = json.loads(workspace.imaged("check-config", "--json").stdout)["problems"]

    assert file.exists()
    assert [problem["key"] for problem in problems] == ["stores.local", "stores.cloud"]
    assert f"cannot read the key in {tmp_path}/none" in problems[1]["what"]
