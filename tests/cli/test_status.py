"""``imaged status``: instances, their work, and what there is."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.text import Text

from imaged.cli import context, imaged
from imaged.cli.status import draw
from imaged.cli.status_text import Status as Reading
from imaged.cli.status_text import fact_lines
from imaged.cli.watch import WatchScreen
from imaged.core.blob import BlobState
from imaged.core.claim import InstanceId
from imaged.core.lifecycle import Status
from imaged.core.outbox import OutboxCount
from imaged.core.quota import Resource
from imaged.core.summary import (
    BlobUsage,
    DamagedImage,
    HeldImage,
    HeldTask,
    Instance,
    InstanceReport,
    RequestCounts,
    StoreSpace,
    Summary,
    TaskCount,
)
from imaged.core.task import TaskStatus
from imaged.core.verdict import Pace, find_problems
from support.command import Workspace, serving
from support.daemon import clean_environment
from support.imaged_process import COMMAND_TIMEOUT_SECONDS, ImagedProcess, Invocation
from support.kept_images import keep_image
from support.waiting import wait_until

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
A, B, C = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abc")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

BUSY = Summary(
    at=NOW,
    instances=[
        Instance(
            InstanceId("near-1"),
            "1.0",
            ("api", "scrubber"),
            NOW - 90 * MINUTE,
            NOW,
            report=InstanceReport(
                spaces={"cloud": StoreSpace(100 * 1024**3, 3 * 1024**3, 1024**3)},
                reconciled_ago_seconds=3600,
                missing_blobs=2,
                reloaded_ago_seconds=300,
                is_reload_rejected=True,
                failing_part_seconds={"store far": 300.0},
                requests=RequestCounts(100, 1, 2),
            ),
        ),
        Instance(
            InstanceId("far-2"),
            "1.1",
            ("scrubber",),
            NOW - MINUTE,
            NOW - MINUTE / 2,
            report=InstanceReport(requests=RequestCounts(20, 3, 4)),
        ),
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
    damaged_images=[DamagedImage(A, "It is not what it was.")],
    restorable_since=NOW - 60 * MINUTE,
    warnings=["store local: 1 of its 1 blobs have no row"],
    outbox=OutboxCount(3, 1, NOW - 5 * MINUTE),
)
PACE = Pace(lease=MINUTE, comparison=360 * MINUTE)
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
    seen = Reading(
        summary,
        find_problems(summary, PACE),
        scrub_delay=timedelta(days=1),
        watches_backups=True,
        backup_at=NOW - 150 * MINUTE,
    )
    monkeypatch.setattr(context, "run_with_catalog", lambda *_: seen)
    done = CliRunner().invoke(imaged, ["status", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def facts_of(workspace: Workspace) -> Any:
    """The JSON output."""
    done = workspace.imaged("status", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_text_output_has_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict and the facts behind it; then instances, what they hold, and what there is."""
    text = shown(BUSY, monkeypatch)
    lines = [line.split() for line in text.splitlines()]

    assert ["near-1", "1.0", "api,", "scrubber", "1h30m", "0s", "ago"] in lines
    assert ["far-2", "1.1", "scrubber", "1m", "30s", "ago"] in lines
    assert ["near-1", A, "saving", "5m", "15s"] in lines
    assert ["gone-3", B, "saving", "9m", "over"] in lines
    assert ["active", "7"] in lines
    assert ["cloud", "kept", "7", "3.0", "GiB"] in lines
    assert "9 images, 1 of them damaged" in text
    assert [A, "It", "is", "not", "what", "it", "was."] in lines
    assert ["far-2", C, "import", "p1", "1m", "30s"] in lines
    assert "3 tasks waiting" in text
    assert ["import", "3", "4m"] in lines
    assert text.startswith(
        "Not all is well: near-1 is without store far (5m), missing blobs (2), damaged images (1), "
        "store cloud has 2% left for uploads, no instance has the role tasks, "
        "blobs that could not be deleted (1), near-1 rejected its last reload, warnings (1).\n"
        "space       cloud: 3.0 GiB of 100.0 GiB free, 1.0 GiB must stay free\n"
        "bytes       2 missing blobs, 1 damaged image\n"
        "comparison  of stores and catalog: 1h ago\n"
        "reload      5m ago, rejected\n"
        "backup      2h30m ago\n"
        "requests    120 answered since the start, 4 failed (5xx), 6 refused (401, 403)\n"
        "work        2 images and 1 task in hand; 3 tasks waiting, the oldest for 4m\n"
        "deletion    4 blobs that no image needs (6.0 MiB), 1 of them with failures; the first is "
        "due for 2m\n"
        "restorable  4 deleted images (1.0 GiB); the first goes in 23h\n"
        "events      3 events waiting to be sent, 1 of them with failures; the oldest for 5m\n"
        "warning     store local: 1 of its 1 blobs have no row\n"
    )


def test_numbers_agree_with_their_nouns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every title, and the facts."""
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
    assert "deletion    1 blob that no image needs (1.0 MiB), 0 of them with failures\n" in text
    assert "restorable  1 deleted image (1.0 KiB)\n" in text
    assert "1 image and 1 task in hand; 1 task waiting, the oldest for 0s\n" in text


def test_troubles_of_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    """As sentences, in text and JSON; without troubles there is no table."""
    said = "scrubber: an image failed 3 times: It is locked."
    ill = replace(ONE, instances=[replace(ONE.instances[0], troubles=(said,))])
    text = shown(ill, monkeypatch)
    facts = json.loads(shown(ill, monkeypatch, "--json"))

    assert "1 trouble" in text
    assert said in text
    assert facts["instances"][0]["troubles"] == [said]
    assert "troubles of instances (1)" in text
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
    assert facts["is_well"] is False
    assert facts["problems"][:2] == ["near-1 is without store far (5m)", "missing blobs (2)"]
    assert facts["last_backup_at"] == "2026-11-20T09:30:00.000+00:00"
    assert facts["restorable_until"] == "2026-11-21T11:00:00.000+00:00"
    assert facts["requests"] == {"answered": 120, "failed": 4, "refused": 6}
    assert facts["damaged"] == [{"image_id": A, "problem": "It is not what it was."}]
    assert facts["store_spaces"]["cloud"]["free_bytes"] == 3 * 1024**3
    assert facts["missing_blobs"] == 2
    assert facts["compared_at"] == "2026-11-20T11:00:00.000+00:00"
    assert facts["reloaded_at"] == "2026-11-20T11:55:00.000+00:00"
    assert facts["is_reload_rejected"] is True
    assert facts["damaged_images"] == 1
    assert facts["warnings"] == ["store local: 1 of its 1 blobs have no row"]
    assert facts["notifications"] == {
        "waiting": 3,
        "failing": 1,
        "oldest_at": "2026-11-20T11:55:00.000+00:00",
    }
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
    [(None, "with failures"), (NOW + 3 * MINUTE, "with failures; the first is due in 3m")],
)
def test_blobs_that_are_not_due_yet(
    monkeypatch: pytest.MonkeyPatch, due_at: datetime | None, end: str
) -> None:
    """Without waiting blobs, or before they are due."""
    summary = Summary(NOW, [], [], {}, [], 0, 0, due_at)

    (line,) = [one for one in shown(summary, monkeypatch).splitlines() if "deletion" in one]
    assert line.endswith(end)


def test_an_empty_catalog_is_told_in_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table without rows."""
    assert len(shown(IDLE, monkeypatch).splitlines()) == 15


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "backup      not watched: backup.folder is not set"),
        ({"watches_backups": True}, "backup      none"),
        ({"scrub_delay": HOUR}, "restorable  1 deleted image (1.0 KiB); the first goes now"),
        ({"scrub_delay": 3 * HOUR}, "restorable  1 deleted image (1.0 KiB); the first goes in 2h"),
    ],
)
def test_backups_and_what_goes_next(changes: dict[str, Any], line: str) -> None:
    """Settings, and the folder of backups, say what the catalog does not know."""
    reading = {"scrub_delay": HOUR, **changes}
    summary = replace(ONE, restorable_since=NOW - HOUR)

    assert line in list(fact_lines(Reading(summary, [], **reading)))


@pytest.mark.parametrize(
    ("outbox", "line"),
    [
        (OutboxCount(1, 0, NOW - 5 * MINUTE), "1 event waiting to be sent; the oldest for 5m"),
        (
            OutboxCount(3, 2, NOW - 5 * MINUTE),
            "3 events waiting to be sent, 2 of them with failures; the oldest for 5m",
        ),
    ],
)
def test_events_that_wait(outbox: OutboxCount, line: str) -> None:
    """They have a line while there are any."""
    waiting = Reading(replace(ONE, outbox=outbox), [], scrub_delay=HOUR)
    assert f"events      {line}" in list(fact_lines(waiting))
    none = fact_lines(Reading(ONE, [], scrub_delay=HOUR))
    assert not [one for one in none if one.startswith("events")]


@pytest.mark.parametrize(
    ("projects", "line"),
    [
        (["web"], "1 project at a limit: web (total, images)"),
        (["a", "b", "\x1bc"], "3 projects at a limit: " + ", ".join(
            f"{name} (total, images)" for name in ("a", "b", "\ufffdc"))),
        (list("abcdef"), "6 projects at a limit: " + "".join(
            f"{name} (total, images), " for name in "abcde") + "…"),
    ],
)  # fmt: skip
def test_projects_at_a_limit(projects: list[str], line: str) -> None:
    """The first of them have a line, while there are any."""
    full = {project: [Resource.TOTAL, Resource.IMAGES] for project in projects}
    seen = Reading(ONE, [], scrub_delay=HOUR, full_projects=full)
    assert f"limits      {line}" in list(fact_lines(seen))
    for none in (replace(seen, full_projects={}), replace(seen, full_projects=None)):
        assert not [one for one in fact_lines(none) if one.startswith("limits")]


def test_limits_are_read_with_the_catalog(workspace: Workspace) -> None:
    """Those of a project, and of the settings; not those in Keystone, which is not asked."""
    keep_image(workspace, "held", b"x" * 1000, deleted=False)
    workspace.imaged("quota", "p0", "--images", "1")
    own = facts_of(workspace)["full_projects"]
    by_settings = workspace.imaged("status", "--json", IMAGED_QUOTAS__TOTAL="1000B").stdout
    password = workspace.folder / "keystone.password"
    password.write_text("made-up")
    workspace.write(
        '[quotas]\nsource = "keystone"\n[auth.keystone]\nurl = "http://127.0.0.1:1"\n'
        f'username = "imaged"\npassword_file = "{password}"\nproject = "service"'
    )

    assert own == {"p0": ["images"]}
    assert json.loads(by_settings)["full_projects"] == {"p0": ["total", "images"]}
    assert facts_of(workspace)["full_projects"] is None


def screen_lines(screen: WatchScreen[Any], height: int = 25) -> list[str]:
    """What the terminal shows."""
    console = Console(width=80, height=height, color_system=None)
    with console.capture() as capture:
        console.print(screen.draw())
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_watched_screen_tells_the_age_of_what_it_shows() -> None:
    """Before the first reading, after it, and while the catalog does not answer: what was read
    stays, below the reason.
    """
    now = 100.0
    screen = WatchScreen(Text, timedelta(seconds=2), lambda: now)
    first = screen_lines(screen)
    screen.show("All is well.")
    now = 107.5
    aged = screen_lines(screen)
    screen.fail("The catalog does not answer.")
    failed = screen_lines(screen)
    screen.show("All is well again.")

    assert first == ["Not read yet; tried every 2s. Ctrl-C ends."]
    assert aged == ["Read 7s ago, every 2s. Ctrl-C ends.", "All is well."]
    assert failed == [
        "Read 7s ago, every 2s. Error: The catalog does not answer.",
        "All is well.",
    ]
    assert screen_lines(screen) == ["Read 0s ago, every 2s. Ctrl-C ends.", "All is well again."]
    screen.end()
    assert screen_lines(screen) == ["All is well again."]


def test_watched_facts_are_folded_below_their_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the output of a single reading."""
    monkeypatch.setenv("COLUMNS", "80")
    screen = WatchScreen(draw, timedelta(seconds=2), lambda: 0)
    screen.show(Reading(BUSY, (), scrub_delay=timedelta(days=1)))
    lines = screen_lines(screen, height=60)
    (number,) = (number for number, line in enumerate(lines) if line.startswith("deletion"))

    assert lines[number].endswith("1 of them with")
    assert lines[number + 1] == f"{'':12}failures; the first is due for 2m"


def test_a_watched_screen_keeps_to_the_terminal() -> None:
    """The first lines stay where they are; the last one says how many are left out."""
    screen = WatchScreen(Text, timedelta(seconds=2), lambda: 0)
    screen.show("\n".join(f"line {number}" for number in range(30)))

    _, first, *_, last = lines = screen_lines(screen, height=10)
    assert len(lines) == 10
    assert (first, last) == ("line 0", "22 more lines: enlarge the terminal.")


def test_watching_can_begin_before_the_catalog_is_there(workspace: Workspace) -> None:
    """It says why it shows nothing, and shows the catalog as soon as it can be opened."""
    away = workspace.folder / "away"
    workspace.file.write_text(
        workspace.file.read_text().replace(str(workspace.catalog), str(away / "catalog.db"))
    )
    shown, said = workspace.folder / "shown", workspace.folder / "said"
    shown.touch()
    said.touch()
    arguments = ("status", "--config", str(workspace.file), "--watch=100ms", "--json")
    process = ImagedProcess(
        Invocation(arguments, clean_environment(), shown, said, workspace.folder)
    )
    try:
        wait_until(
            lambda: said.read_text().count("\n") > 1 or process.poll() is not None,
            within_seconds=COMMAND_TIMEOUT_SECONDS,
        )
        waiting = shown.read_text()
        away.mkdir()
        wait_until(
            lambda: shown.read_text() or process.poll() is not None,
            within_seconds=COMMAND_TIMEOUT_SECONDS,
        )
        process.send_signal(signal.SIGINT)
        code = process.wait(COMMAND_TIMEOUT_SECONDS)
    finally:
        process.kill()

    assert (code, waiting) == (0, "")
    assert json.loads(shown.read_text().splitlines()[0])["images"] == {}
    assert set(said.read_text().splitlines()) == {
        f"Error: The catalog {away}/catalog.db cannot be opened: its folder is missing."
    }


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


def test_what_an_instance_reports_is_shown(workspace: Workspace) -> None:
    """Its stores' space, its comparison and its reload, from its next heartbeat on."""
    workspace.write('[claims]\nlease = "3s"\nrenew_every = "1s"')
    with serving(workspace.file) as daemon:
        daemon.wait_for("daemon.started")
        daemon.reload()
        daemon.wait_for("config.reloaded")
        facts: dict[str, Any] = {}

        def is_reported() -> bool:
            facts.update(facts_of(workspace))
            return all((facts["store_spaces"], facts["compared_at"], facts["reloaded_at"]))

        wait_until(is_reported, lambda: facts, COMMAND_TIMEOUT_SECONDS)

    assert facts["store_spaces"]["local"]["size_bytes"] > 0
    assert facts["is_reload_rejected"] is False
    assert facts["problems"] == []
    assert facts["is_well"] is True


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
