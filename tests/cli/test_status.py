"""``imaged status``: instances, their work, and what there is."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from imaged.cli import context, imaged
from imaged.core.blob import BlobState
from imaged.core.claim import InstanceId
from imaged.core.lifecycle import Status
from imaged.core.summary import BlobUsage, HeldImage, HeldTask, Instance, Summary, TaskCount
from imaged.core.task import TaskStatus
from support.command import Workspace, serving

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
A, B, C = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abc")
MINUTE = timedelta(minutes=1)

BUSY = Summary(
    at=NOW,
    instances=[
        Instance(InstanceId("near-1"), "1.0", ("api", "scrubber"), NOW - 90 * MINUTE, NOW),
        Instance(InstanceId("far-2"), "1.1", ("scrubber",), NOW - MINUTE, NOW - MINUTE / 2),
    ],
    held_images=[
        HeldImage(InstanceId("near-1"), A, Status.SAVING, NOW - 5 * MINUTE, NOW + MINUTE / 4),
        HeldImage(InstanceId("gone-3"), B, Status.SAVING, NOW - 9 * MINUTE, NOW - MINUTE),
    ],
    images={Status.SAVING: 2, Status.ACTIVE: 7},
    blob_usage=[
        BlobUsage("cloud", BlobState.DOOMED, 3, 5 * 1024**2, failing=1),
        BlobUsage("cloud", BlobState.KEPT, 7, 3 * 1024**3),
        BlobUsage("local", BlobState.DOOMED, 1, 1024**2),
    ],
    restorable=4,
    restorable_bytes=1024**3,
    oldest_due_at=NOW - 2 * MINUTE,
    tasks=[
        TaskCount("import", TaskStatus.PENDING, 3, NOW - 4 * MINUTE),
        TaskCount("import", TaskStatus.PROCESSING, 1, NOW - 7 * MINUTE),
        TaskCount("verify", TaskStatus.SUCCESS, 9, NOW - 600 * MINUTE),
    ],
    held_tasks=[HeldTask(InstanceId("far-2"), C, "import", "p1", NOW - MINUTE, NOW + MINUTE / 2)],
    damaged=1,
)
IDLE = Summary(NOW, [], [], {}, [], 0, 0, None)
ONE = Summary(
    at=NOW,
    instances=BUSY.instances[:1],
    held_images=BUSY.held_images[:1],
    images={Status.SAVING: 1},
    blob_usage=[BlobUsage("local", BlobState.DOOMED, 1, 1024**2)],
    restorable=1,
    restorable_bytes=1024,
    oldest_due_at=None,
    tasks=[TaskCount("import", TaskStatus.PENDING, 1, NOW)],
    held_tasks=BUSY.held_tasks,
)


def shown(summary: Summary, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What the command prints of a catalog in this state."""
    monkeypatch.setattr(context, "run_with_catalog", lambda *_: summary)
    done = CliRunner().invoke(imaged, ["status", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def facts_of(workspace: Workspace) -> Any:
    """The JSON output."""
    done = workspace.imaged("status", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_text_output_has_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instances and since when, what they hold, what there is, and what waits."""
    text = shown(BUSY, monkeypatch)
    lines = [line.split() for line in text.splitlines()]

    assert ["near-1", "1.0", "api,", "scrubber", "1h30m", "0s", "ago"] in lines
    assert ["far-2", "1.1", "scrubber", "1m", "30s", "ago"] in lines
    assert ["near-1", A, "saving", "5m", "15s"] in lines
    assert ["gone-3", B, "saving", "9m", "over"] in lines
    assert ["active", "7"] in lines
    assert ["cloud", "kept", "7", "3.0", "GiB"] in lines
    assert "9 images, 1 of them damaged" in text
    assert ["far-2", C, "import", "p1", "1m", "30s"] in lines
    assert "3 tasks waiting" in text
    assert ["import", "3", "4m"] in lines
    assert text.endswith(
        "For the scrubber: 4 deleted images that can still be restored (1.0 GiB); 4 blobs that "
        "no image needs (6.0 MiB), 1 of them with failures; the first is due for 2m.\n"
    )


def test_numbers_agree_with_their_nouns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every title, and the sentence at the end."""
    text = shown(ONE, monkeypatch)

    titles = {line for line in text.splitlines() if line.startswith("1 ")}
    assert titles == {
        "1 instance",
        "1 image being worked on",
        "1 task being worked on",
        "1 task waiting",
        "1 image",
        "1 blob",
    }
    assert text.endswith(
        "For the scrubber: 1 deleted image that can still be restored (1.0 KiB); 1 blob that "
        "no image needs (1.0 MiB), 0 of them with failures.\n"
    )


def test_troubles_of_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    """As sentences, in text and JSON; without troubles there is no table."""
    said = "scrubber: an image failed 3 times: It is locked."
    ill = replace(ONE, instances=[replace(ONE.instances[0], troubles=(said,))])
    text = shown(ill, monkeypatch)
    facts = json.loads(shown(ill, monkeypatch, "--json"))

    assert "1 trouble" in text
    assert said in text
    assert facts["instances"][0]["troubles"] == [said]
    assert "trouble" not in shown(BUSY, monkeypatch)


def test_json_has_the_same_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes, seconds and moments."""
    facts = json.loads(shown(BUSY, monkeypatch, "--json"))

    assert facts["at"] == "2026-11-20T12:00:00.000+00:00"
    assert facts["instances"][0] == {
        "id": "near-1",
        "version": "1.0",
        "roles": ["api", "scrubber"],
        "since": "2026-11-20T10:30:00.000+00:00",
        "seen_at": "2026-11-20T12:00:00.000+00:00",
        "troubles": [],
    }
    assert facts["holdings"][1] == {
        "instance": "gone-3",
        "image_id": B,
        "status": "saving",
        "since": "2026-11-20T11:51:00.000+00:00",
        "lease_left_s": -60.0,
    }
    assert facts["task_holdings"] == [
        {
            "instance": "far-2",
            "task_id": C,
            "type": "import",
            "owner": "p1",
            "since": "2026-11-20T11:59:00.000+00:00",
            "lease_left_s": 30.0,
        }
    ]
    assert facts["tasks"][1] == {
        "type": "import",
        "status": "processing",
        "tasks": 1,
        "oldest_at": "2026-11-20T11:53:00.000+00:00",
    }
    assert facts["damaged_images"] == 1
    assert facts["images"] == {"active": 7, "saving": 2}
    assert facts["stores"][1] == {
        "store": "cloud",
        "state": "kept",
        "blobs": 7,
        "bytes": 3 * 1024**3,
    }
    assert facts["scrubber"] == {
        "restorable": 4,
        "restorable_bytes": 1024**3,
        "doomed": 4,
        "doomed_bytes": 6 * 1024**2,
        "oldest_due_at": "2026-11-20T11:58:00.000+00:00",
        "failing": 1,
    }


@pytest.mark.parametrize(
    ("due_at", "end"),
    [(None, "with failures."), (NOW + 3 * MINUTE, "with failures; the first is due in 3m.")],
)
def test_blobs_that_are_not_due_yet(
    monkeypatch: pytest.MonkeyPatch, due_at: datetime | None, end: str
) -> None:
    """Without waiting blobs, or before they are due."""
    summary = Summary(NOW, [], [], {}, [], 0, 0, due_at)

    assert shown(summary, monkeypatch).rstrip().endswith(end)


def test_an_empty_catalog_is_told_in_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table without rows."""
    assert len(shown(IDLE, monkeypatch).splitlines()) == 7


def test_daemons_and_scrubbers_are_there_until_they_end(workspace: Workspace) -> None:
    """With their roles; a killed instance is listed for a while."""
    with serving(workspace.file) as daemon, serving(workspace.file, "scrub") as scrubber:
        started = [one.wait_for("daemon.started") for one in (daemon, scrubber)]
        while len(there := facts_of(workspace)["instances"]) < 2:
            assert daemon.process.poll() is None
        assert daemon.end() == 0
        (left,) = facts_of(workspace)["instances"]
        scrubber.end(signal.SIGKILL)
        silent = facts_of(workspace)["instances"]

    assert {one["id"]: one["roles"] for one in there} == {
        one["instance"]: one["roles"] for one in started
    }
    assert left["id"] == started[1]["instance"]
    assert [one["id"] for one in silent] == [left["id"]]


def test_work_is_shown_with_its_instance(workspace: Workspace) -> None:
    """While an upload runs."""
    with serving(workspace.file) as daemon:
        daemon.begin_upload(image_id := daemon.create_image())
        facts = facts_of(workspace)
        instance = daemon.wait_for("daemon.started")["instance"]

    (holding,) = facts["holdings"]
    assert (holding["instance"], holding["image_id"]) == (instance, image_id)
    assert holding["status"] == "saving"
    assert 0 < holding["lease_left_s"] <= 60
    assert facts["images"] == {"saving": 1}
    assert [(one["state"], one["blobs"]) for one in facts["stores"]] == [("writing", 1)]
