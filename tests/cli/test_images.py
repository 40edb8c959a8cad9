"""``imaged ls``, ``show``, ``set`` and ``rm`` against a real daemon."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from subprocess import CompletedProcess
from typing import Any

import pytest
from click.testing import CliRunner

from imaged.cli import imaged as group
from imaged.cli.output import local_time
from support.command import ServerProcess, Workspace, imaged, serving

NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def daemon(workspace: Workspace) -> Iterator[ServerProcess]:
    """A daemon on a folder."""
    with serving(workspace.file) as daemon:
        yield daemon


def call(daemon: ServerProcess, *arguments: str) -> CompletedProcess[str]:
    """Run a command that asks this daemon."""
    return imaged(*arguments, "--url", daemon.url)


def facts(daemon: ServerProcess, *arguments: str) -> Any:
    """What a command tells programs."""
    done = call(daemon, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_images_are_listed_the_newest_first(daemon: ServerProcess) -> None:
    """Filters and the limit are the service's; the title says that there are more."""
    old, middle, new = (
        daemon.create_image(name=name, tags=[name]) for name in ("old", "middle", "new")
    )
    daemon.upload(middle, b"x" * 2048)

    assert [one["id"] for one in facts(daemon, "ls")] == [new, middle, old]
    assert [one["id"] for one in facts(daemon, "ls", "--limit", "2")] == [new, middle]
    assert [one["id"] for one in facts(daemon, "ls", "--status", "active")] == [middle]
    assert [one["id"] for one in facts(daemon, "ls", "--tag", "old")] == [old]
    assert facts(daemon, "ls", "--name", "none") == []

    shown = call(daemon, "ls", "--limit", "2").stdout
    assert shown.startswith("2 images, and there are more: --limit 20 shows them\n")
    assert middle in shown
    assert "2.0 KiB" in shown
    assert "raw" not in shown
    header, *rows = call(daemon, "ls", "--wide").stdout.splitlines()[1:]
    named = [dict(zip(header.split("\t"), row.split("\t"), strict=True)) for row in rows]
    assert [(row["image"], row["format"], row["tags"]) for row in named] == [
        (new, "raw", "new"),
        (middle, "raw", "middle"),
        (old, "raw", "old"),
    ]
    assert all(row["created at"].endswith("UTC") for row in named)


def test_pages_are_followed(daemon: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service gives so many at once."""
    ids = [daemon.create_image(name=f"{number}") for number in range(5)]
    monkeypatch.setattr("imaged.client.image_api.MAX_PAGE_IMAGES", 2)

    done = CliRunner().invoke(group, ["ls", "--limit", "4", "--json", "--url", daemon.url])
    assert [one["id"] for one in json.loads(done.output)] == ids[:0:-1]


def test_the_members_of_a_shared_image(daemon: ServerProcess) -> None:
    """Its owner sees them, with their answers; other images have none."""
    image_id = daemon.create_image(name="golden", visibility="shared")
    none = facts(daemon, "show", image_id)
    path = f"/v2/images/{image_id}/members"
    status, answer = daemon.ask(path, "POST", json.dumps({"member": "web"}).encode())
    assert status == 200, answer
    (member,) = facts(daemon, "show", image_id)["members"]
    text = call(daemon, "show", image_id).stdout

    assert "members" not in none
    assert (member["member_id"], member["status"]) == ("web", "pending")
    since = local_time(datetime.fromisoformat(member["updated_at"]))
    assert f"\n\n1 member\nproject\tstatus\tsince\nweb\tpending\t{since}\n\n2 changes" in text
    call(daemon, "set", image_id, "--visibility", "private")
    assert "members" not in facts(daemon, "show", image_id)


def test_an_image_is_shown(daemon: ServerProcess) -> None:
    """By its id, or a name that only one image has; times are local, sizes readable."""
    image_id = daemon.create_image(name="golden", tags=["a", "b"], os_distro="debian")
    daemon.upload(image_id, b"x" * 2048)

    history = daemon.show(f"/v2/images/{image_id}/history")["history"]
    shown = {
        **daemon.show(f"/v2/images/{image_id}"),
        "history": history,
        "unreadable_entries": 0,
    }
    assert facts(daemon, "show", "golden") == shown
    record, _, changes = call(daemon, "show", image_id).stdout.partition("\n\n")
    lines = dict(line.split(maxsplit=1) for line in record.splitlines())
    assert list(lines)[:3] == ["id", "name", "status"]
    assert (lines["tags"], lines["os_distro"]) == ("a, b", "debian")
    assert (lines["size"], lines["protected"]) == ("2.0 KiB (2048 bytes)", "false")
    assert re.fullmatch(r"[-0-9]+ [:0-9]+ UTC \(\d+ s ago\)", lines["created_at"])
    assert "min_disk" in lines
    assert "imaged_last_failure" not in lines
    assert changes.startswith("3 changes\n")
    at = local_time(datetime.fromisoformat(history[-1]["at"]))
    last = " ".join(changes.rstrip().splitlines()[-1].split())
    assert last.startswith(f"{at} uploaded admin admin 127.0.0.1 size 2.0 KiB, ")


def test_who_deleted_an_image(daemon: ServerProcess) -> None:
    """The id of a deleted image still shows its history, and when it will be scrubbed."""
    image_id = daemon.create_image(name="golden")
    daemon.upload(image_id, b"x" * 2048)
    removed = call(daemon, "rm", "golden")
    assert (removed.returncode, removed.stdout) == (0, f"{image_id} is deleted.\n")
    known = facts(daemon, "show", image_id)
    deleted = known["history"][-1]

    assert (known["id"], known["status"]) == (image_id, "pending_delete")
    assert (deleted["action"], deleted["user_id"]) == ("deleted", "admin")
    assert deleted["details"]["scrub_due_at"] == known["scrub_due_at"]
    due_at = local_time(datetime.fromisoformat(known["scrub_due_at"]))
    until = f"Until {due_at} an operator can restore it"
    assert removed.stderr == f"{until}: imaged restore {image_id}\n"
    shown = call(daemon, "show", image_id)
    assert f"{'scrub_due_at':<20} {due_at}\n" in shown.stdout
    assert f"size 2.0 KiB, scrub due {due_at}" in " ".join(shown.stdout.split())

    for gone in ("golden", NOWHERE):
        refused = call(daemon, "show", gone)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"Error: There is no image {gone}.\n`imaged ls` lists ")


def test_attributes_are_changed_together(daemon: ServerProcess) -> None:
    """Tags are added, properties set and removed."""
    image_id = daemon.create_image(name="golden", tags=["a"], old="1", os_distro="debian")
    arguments = ("--name", "new", "--tag", "b", "-p", "os_distro=fedora", "--unset", "old")
    done = call(daemon, "set", "golden", *arguments, "--protected")

    assert (done.returncode, done.stdout) == (0, f"{image_id}\n")
    record = daemon.show(f"/v2/images/{image_id}")
    assert (record["name"], record["tags"], record["os_distro"]) == ("new", ["a", "b"], "fedora")
    assert (record["protected"], "old" in record) == (True, False)

    refused = call(daemon, "set", "new", "--name", "newer", "--unset", "old")
    assert refused.returncode == 1
    assert "old" in refused.stderr
    assert daemon.show(f"/v2/images/{image_id}")["name"] == "new"

    nothing = call(daemon, "set", "new")
    assert nothing.returncode == 2
    assert "nothing to change" in nothing.stderr


def test_images_are_deleted(daemon: ServerProcess) -> None:
    """None, if one of them is not found or protected, or its name is that of several."""
    one, two, _ = (daemon.create_image(name=name) for name in ("one", "two", "two"))

    for missing in (NOWHERE, "two"):
        refused = call(daemon, "rm", "one", missing)
        assert refused.returncode == 1
        assert missing in refused.stderr
    assert call(daemon, "set", two, "--protected").returncode == 0
    refused = call(daemon, "rm", "one", two)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: The image {two} is protected from deletion.\n"
        f"To permit it: imaged set {two} --unprotected\n"
    )
    assert len(facts(daemon, "ls")) == 3

    assert call(daemon, "set", two, "--unprotected").returncode == 0
    done = call(daemon, "rm", "one", two)
    assert done.stdout == f"{one} is deleted.\n{two} is deleted.\n"
    assert done.stderr == ""  # without data there is nothing to restore
    assert len(facts(daemon, "ls")) == 1
