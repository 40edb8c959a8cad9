"""``imaged tasks``: what operators see of tasks, and end, beside a daemon and without one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import pytest

from imaged.cli.tasks import task_json, task_lines, task_table
from imaged.config import load
from imaged.core.edits import begin_draft
from imaged.core.image import Image
from imaged.core.limits import MIB
from imaged.core.task import Progress, Task, TaskStatus
from imaged.daemon.drivers import open_catalog
from imaged.ports.catalog import Catalog
from support.command import Workspace, serving
from support.daemon import clean_environment
from support.imaged_process import IMAGED

T = TypeVar("T")

A, B, C = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abc")
NO_WORKERS = '[daemon]\nroles = ["api"]'


def with_catalog(workspace: Workspace, work: Callable[[Catalog], Awaitable[T]]) -> T:
    """Do something to the catalog, as a daemon would."""

    async def run() -> T:
        async with open_catalog(load(workspace.file, {})) as catalog:
            return await work(catalog)

    return anyio.run(run)


def task(task_id: str, name: str = "verify", owner: str = "p1", **facts: Any) -> Task:
    """A task of a project."""
    return Task(id=task_id, type=name, owner=owner, user_id="ann", **facts)


def fill(workspace: Workspace) -> None:
    """Three tasks, the newest last: B is in processing, and half done; C makes an image."""

    async def body(catalog: Catalog) -> None:
        await catalog.add_task(task(A, owner="p2", input={"uri": "https://s3.test/b?sig=made-up"}))
        await catalog.add_task(task(B))
        await catalog.modify_task(B, lambda one: replace(one, attempts=1))
        image = Image(id=A, owner="p1", disk_format="raw", container_format="bare")
        await catalog.add_image(begin_draft(image, task(C, "import")))

    with_catalog(workspace, body)


def told(workspace: Workspace, *arguments: str) -> Any:
    """What a command of ``imaged tasks`` tells programs."""
    name, *rest = arguments
    done = workspace.imaged(f"tasks {name}", *rest, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_all_tasks_are_listed_newest_first(workspace: Workspace) -> None:
    """Also those of images that are not visible yet."""
    fill(workspace)

    listed = told(workspace, "list")

    assert [one["id"] for one in listed] == [C, B, A]
    assert [one["owner"] for one in listed] == ["p1", "p1", "p2"]
    assert listed[2]["input"] == {"uri": "https://s3.test/b?***"}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["--type", "import"], [C]),
        (["--owner", "p2"], [A]),
        (["--status", "pending", "--type", "verify"], [B, A]),
        (["--status", "failure"], []),
        (["--limit", "1"], [C]),
    ],
)
def test_filters_are_combined(workspace: Workspace, filters: list[str], found: list[str]) -> None:
    """By type, status and owner."""
    fill(workspace)

    assert [one["id"] for one in told(workspace, "list", *filters)] == found


def test_text_output_is_a_table(workspace: Workspace) -> None:
    """With a title that counts them, and why one failed; --wide has their owners too."""
    fill(workspace)
    workspace.imaged("tasks cancel", A)

    shown = workspace.imaged("tasks list").stdout

    assert shown.startswith("3 tasks\n")
    assert "It was cancelled by the operator." in shown
    assert "p2" not in shown
    assert "p2" in workspace.imaged("tasks list", "--wide").stdout


def test_a_task_is_shown_with_all_fields(workspace: Workspace) -> None:
    """Also if its id was typed in capitals; the query of a URL may be a secret, and is hidden."""
    fill(workspace)

    shown = workspace.imaged("tasks show", A.upper())

    assert shown.returncode == 0, shown.stderr
    assert f"{A}  verify  pending\n" in shown.stdout
    assert "created by ann of p2" in shown.stdout
    assert 'input   uri = "https://s3.test/b?***"\n' in shown.stdout
    assert told(workspace, "show", A)["attempts"] == 0


def test_an_unknown_task(workspace: Workspace) -> None:
    """It is reported in a sentence."""
    workspace.imaged("migrate")
    for command in ("tasks show", "tasks cancel"):
        done = workspace.imaged(command, A)
        assert (done.returncode, done.stdout) == (1, "")
        assert A in done.stderr
        assert "Traceback" not in done.stderr


def test_a_cancelled_task_takes_its_image_with_it(workspace: Workspace) -> None:
    """In one change, as by the API; what is final stays so. An operator counts as an admin."""
    workspace.write('[tasks]\naccess = "admins"')
    fill(workspace)

    cancelled = told(workspace, "cancel", C)
    again = workspace.imaged("tasks cancel", C)
    image = with_catalog(workspace, lambda catalog: catalog.get_image(A))

    assert (cancelled["status"], cancelled["message"]) == (
        "failure",
        "It was cancelled by the operator.",
    )
    assert (image.status, image.task) == ("deleted", None)
    assert again.returncode == 1
    assert "failure" in again.stderr


def test_a_task_can_be_watched_until_it_ends(workspace: Workspace) -> None:
    """Each look is a line; the exit code says how it ended."""
    with serving(workspace.write()) as daemon:
        daemon.upload(image_id := daemon.create_image())
        good = daemon.create_task("verify", image_id=image_id)
        done = workspace.imaged("tasks show", good, "--watch=100ms", "--json")
    workspace.write(NO_WORKERS)
    fill(workspace)
    workspace.imaged("tasks cancel", A)
    bad = workspace.imaged("tasks show", A, "--watch=100ms")

    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, last["status"], last["result"]["healthy"]) == (0, "success", True)
    assert bad.returncode == 1
    assert "failed  It was cancelled by the operator.\n" in bad.stdout


def test_a_list_can_be_watched(workspace: Workspace) -> None:
    """Until it is interrupted."""
    fill(workspace)
    command = [IMAGED, "tasks", "list", "--config", str(workspace.file), "--watch=100ms", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environment()) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.terminate()

    assert [[one["id"] for one in look] for look in looks] == [[C, B, A]] * 2


def drawn(one: Task) -> str:
    """What a wide terminal shows of it."""
    return "\n".join(task_table([one], with_bars=True).lines(200))


def test_a_running_task_has_a_bar() -> None:
    """A bar with the share done, unless it is unknown; none for waiting tasks."""
    running = task(A, status=TaskStatus.PROCESSING)
    half = replace(running, progress=Progress("fetching", 3 * MIB, 6 * MIB))
    unknown = replace(running, progress=Progress("fetching", 3 * MIB))

    assert "━" in drawn(half)
    assert "fetching: 3.0 of 6.0 MiB, 50 %" in drawn(half)
    assert "fetching: 3.0 MiB" in drawn(unknown)
    assert "━" not in drawn(unknown)
    assert "━" not in drawn(replace(half, status=TaskStatus.PENDING))


def test_a_terminal_does_not_obey_what_tasks_say() -> None:
    """Names and messages come from users and from other services."""
    evil = task(A, owner="p\x1b[31m1", status=TaskStatus.FAILURE, message="no\x1b]0;you\x07")

    assert "\x1b[31m1" not in drawn(evil)
    assert "\x1b" not in "\n".join(task_lines(evil))


def test_secrets_are_in_no_view() -> None:
    """The sealed part of an input is for the worker alone."""
    sealed = task(A, sealed=b"secret", input={"image_id": B})

    assert "sealed" not in task_json(sealed)
    assert "secret" not in json.dumps(task_json(sealed)) + "".join(task_lines(sealed))
