"""Commands on a configuration with several stores."""

from __future__ import annotations

import json
from pathlib import Path

from support.command import Workspace, blobs, serving


def test_a_daemon_has_all_its_stores(workspace: Workspace, tmp_path: Path) -> None:
    """They are listed, written and scrubbed, each by its name."""
    (far := tmp_path / "far").mkdir()
    workspace.write(f"[stores.far]\ntype = 'filesystem'\npath = '{far}'\nmin_free = '0'")
    with serving(workspace.file, IMAGED_SCRUBBER__DELAY="0") as daemon:
        assert daemon.wait_for("daemon.started")["stores"] == ["local", "far"]
        listed = daemon.show("/v2/info/stores")
        detail = daemon.show("/v2/info/stores/detail")
        statuses = [
            daemon.upload(daemon.create_image(), X_Image_Meta_Store=name)
            for name in ("far", "local", "near")
        ]
        status = json.loads(workspace.imaged("status", "--json").stdout)

    assert listed == {"stores": [{"id": "local", "default": "true"}, {"id": "far"}]}
    assert [store["properties"]["data_dir"] for store in detail["stores"]] == [
        str(workspace.images),
        str(far),
    ]
    assert statuses == [204, 204, 400]
    assert (len(blobs(workspace.images)), len(blobs(far))) == (1, 1)
    assert [(one["store"], one["bytes"]) for one in status["stores"]] == [("far", 4), ("local", 4)]


def test_every_store_is_tried(workspace: Workspace, tmp_path: Path) -> None:
    """Not only the default one: check-config reports all problems, serve the first one."""
    far, key = tmp_path / "far", tmp_path / "key"
    workspace.write(
        f"[stores.far]\ntype = 'filesystem'\npath = '{far}'\n"
        f"[stores.cloud]\ntype = 's3'\nbucket = 'images'\n"
        f"access_key_file = '{key}'\nsecret_key_file = '{key}'"
    )
    workspace.images.rmdir()

    problems = json.loads(workspace.imaged("check-config", "--json").stdout)["problems"]
    key.write_text("made-up")  # serve reads the keys before it tries a store
    served = workspace.imaged("serve")

    assert [problem["key"] for problem in problems] == [
        "stores.local",
        "stores.far",
        "stores.cloud",
    ]
    assert f"the folder {far}," in problems[1]["what"]
    assert f"cannot read the key in {key}" in problems[2]["what"]
    assert served.returncode == 1
    assert f"the folder {workspace.images}," in served.stderr
    assert str(far) not in served.stderr
