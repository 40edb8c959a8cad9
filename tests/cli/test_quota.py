"""``imaged quota``, and the accounts in ``imaged reconcile``."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest

from imaged.core.quota import Resource
from support.command import Workspace, imaged
from support.kept_images import keep_image

RESOURCES = [resource.value for resource in Resource]


def test_quotas_are_shown_and_set(workspace: Workspace) -> None:
    """A project holds what it uploaded, and may hold what the operator says."""
    keep_image(workspace, "held", b"x" * 1000, deleted=False)

    before = json.loads(workspace.imaged("quota", "p0", "--json").stdout)
    changed = workspace.imaged("quota", "p0", "--total", "1.5GiB", "--images", "unlimited").stdout
    after = json.loads(workspace.imaged("quota", "p0", "--json").stdout)
    freed = workspace.imaged("quota", "p0", "--total", "default", "--json").stdout

    unlimited = dict.fromkeys(RESOURCES, "unlimited")
    used = {"total": 1000, "staged": 0, "images": 1, "uploads": 0}
    assert before == {"project": "p0", "usage": used, "limits": unlimited, "own_limits": []}
    assert changed.splitlines() == [
        "p0",
        "resource\tused\tlimit\tis a limit of",
        "total\t1000 B\t1.5 GiB\tthe project",
        "staged\t0 B\tunlimited\tthe default",
        "images\t1\tunlimited\tthe project",
        "uploads\t0\tunlimited\tthe default",
    ]
    assert after["limits"] == {**unlimited, "total": 3 * 1024**3 // 2}
    assert after["own_limits"] == ["images", "total"]
    assert json.loads(freed) == {**before, "own_limits": ["images"]}


def test_projects_are_listed(workspace: Workspace) -> None:
    """All of them, or those that have reached a limit: of their own, or of the settings."""
    keep_image(workspace, "held", b"x" * 1000, deleted=False)
    workspace.imaged("quota", "p1", "--total", "2KiB")

    listed = workspace.imaged("quota").stdout
    nothing = workspace.imaged("quota", "--full").stdout
    full = workspace.imaged("quota", "--full", "--json", IMAGED_QUOTAS__TOTAL="1000B").stdout

    assert listed.splitlines() == [
        "2 projects",
        "\t".join(("project", *RESOURCES)),
        "p0\t1000 B\t0 B\t1\t0",
        "p1\t0.0 of 2.0 KiB\t0 B\t0\t0",
    ]
    assert nothing == "0 projects at a limit\n"
    (found,) = json.loads(full)["projects"]
    assert (found["project"], found["limits"]["total"]) == ("p0", 1000)


def test_a_project_that_has_nothing(workspace: Workspace) -> None:
    """The name may be mistyped, so the command says that it has nothing."""
    done = workspace.imaged("quota", "p7")

    assert done.returncode == 0
    assert "total\t0 B\tunlimited\tthe default" in done.stdout
    assert "The project 'p7' has nothing here, and no limits of its own." in done.stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("p1", "--total", "12"), 'or "unlimited", or "default"'),
        (
            ("p1", "--images", "12KiB"),
            'must be a number from 0 to .*, or "default"',
        ),
        (("p1", "--uploads", "-1"), "must be a number from 0 to"),
        (("--images", "5"), "Name the project whose limits are to be set"),
        (("p1", "--full"), "--full lists projects"),
    ],
)
def test_limits_that_are_none(words: tuple[str, ...], why: str) -> None:
    """They are refused with what is allowed, before the catalog is opened."""
    done = imaged("quota", *words)

    assert done.returncode == 2
    assert re.search(why, done.stderr)


def test_a_wrong_usage_is_found_and_corrected(workspace: Workspace) -> None:
    """By `imaged reconcile`: without --apply it is a problem, and with it corrected."""
    keep_image(workspace, "held", b"x" * 1000, deleted=False)
    with closing(sqlite3.connect(workspace.catalog)) as db, db:
        db.execute("UPDATE accounts SET image_count = 5")

    found = workspace.imaged("reconcile")
    facts = json.loads(workspace.imaged("reconcile", "--json").stdout)["wrong_accounts"]
    corrected = workspace.imaged("reconcile", "--apply")
    again = workspace.imaged("reconcile")

    assert [done.returncode for done in (found, corrected, again)] == [1, 0, 0]
    assert "The usage of 1 project was wrong" in found.stdout
    assert "p0\timages\t5\t1\nNothing was changed. --apply corrects it." in found.stdout
    assert [(one["project"], one["counted"]["images"]) for one in facts] == [("p0", 1)]
    assert "It is corrected." in corrected.stdout
    assert "The usage of all projects is right." in again.stdout


def test_limits_that_keystone_has(workspace: Workspace) -> None:
    """They are set there; while it does not answer, the defaults are shown, and that they are."""
    password = workspace.folder / "password"
    password.write_text("made up")
    workspace.write(
        f"""
        [quotas]
        source = "keystone"
        images = 5
        [auth.keystone]
        url = "http://127.0.0.1:1"
        username = "imaged"
        password_file = "{password}"
        project = "service"
        """
    )

    refused = workspace.imaged("quota", "p1", "--staged", "5GiB")
    shown = workspace.imaged("quota", "p1")

    assert refused.returncode == 2
    assert "openstack limit create --service image --project p1" in refused.stderr
    assert refused.stderr.rstrip().endswith(" image_stage_total")
    assert "images\t0\t5\tKeystone" in shown.stdout
    assert "The limits are those of [quotas] until then." in shown.stderr


def test_keystone_must_be_named_where_limits_are_in_it(workspace: Workspace) -> None:
    """The settings of its account are needed, whatever authenticates the callers."""
    workspace.write('[quotas]\nsource = "keystone"')

    done = workspace.imaged("check-config")

    assert done.returncode == 1
    assert "auth.keystone.url: must be set, so that Keystone can be asked" in done.stderr
