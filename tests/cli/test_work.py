"""``imaged work``: a process for tasks, beside one that answers, and at the lowest priority."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from imaged.config import load
from imaged.config.sections import Role
from imaged.daemon.drivers import lane_factory
from imaged.lanes import BackgroundLane, LaneFactory, ThreadLane
from imaged.process import AUTOGROUP
from support.command import ServerProcess, Workspace, serving
from support.daemon import clean_environment
from support.imaged_process import COMMAND_TIMEOUT_SECONDS, IMAGED, ImagedProcess
from support.waiting import wait_until

LAST = 19
FRONT = '["api", "scrubber"]'
SETTINGS = '[tasks]\npoll_every = "200ms"\nkey_file = "{folder}/task.key"\n[log]\nlevel = "debug"'


@pytest.fixture
def shared(workspace: Workspace) -> Workspace:
    """What two processes read."""
    workspace.write(SETTINGS.format(folder=workspace.folder))
    return workspace


def niceness(process: ImagedProcess | subprocess.Popen[bytes]) -> set[int]:
    """Of all threads of a process that are there long enough to be looked at."""
    found = set()
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        with suppress(ProcessLookupError):
            found.add(os.getpriority(os.PRIO_PROCESS, int(thread.name)))
    return found


def opened(process: ImagedProcess | subprocess.Popen[bytes], path: Path) -> bool:
    """Whether a process has a file open."""
    files = Path(f"/proc/{process.pid}/fd")
    return any(link.is_symlink() and link.resolve() == path for link in files.iterdir())


def end_of(daemon: ServerProcess, task_id: str) -> Any:
    """The task, when it has ended."""

    def show() -> Any:
        return daemon.show(f"/v2/tasks/{task_id}")

    wait_until(lambda: show()["status"] in {"success", "failure"}, show, COMMAND_TIMEOUT_SECONDS)
    return show()


def test_a_task_accepted_by_one_process_is_done_by_another(shared: Workspace) -> None:
    """Tasks wait for a worker, however many answer; the worker says that it did them."""
    with serving(shared.file, IMAGED_DAEMON__ROLES=FRONT) as front:
        image_id = front.create_image()
        assert front.upload(image_id) == 204
        waiting = front.create_task("verify", image_id=image_id)
        with serving(shared.file, "work") as worker:
            started = worker.wait_for("daemon.started")
            verified = end_of(front, waiting)
            cloned = end_of(front, front.create_task("clone", image_id=image_id))
            assert worker.end() == 0
        assert front.end() == 0

    assert (started["roles"], started["bind"]) == (["tasks"], [])
    assert [task["status"] for task in (verified, cloned)] == ["success", "success"]
    done = {one["task_id"] for one in worker.events() if one["event"] == "task.phase_began"}
    assert done == {verified["id"], cloned["id"]}
    assert not [one for one in front.events() if one["event"] == "task.phase_began"]


def test_a_worker_leaves_the_processors_to_others(shared: Workspace) -> None:
    """All of its threads: the roles count, not the command. A daemon that serves requests keeps the
    priority it was given.
    """
    with (
        serving(shared.file) as both,
        serving(shared.file, "work") as worker,
        serving(shared.file, IMAGED_DAEMON__ROLES='["tasks"]') as by_role,
    ):
        for one in (both, worker, by_role):
            one.wait_for("daemon.started")

        assert niceness(worker.process) == niceness(by_role.process) == {LAST}
        assert os.getpriority(os.PRIO_PROCESS, 0) in niceness(both.process)


def test_a_worker_starts_at_the_priority_that_it_was_given(shared: Workspace) -> None:
    """Beside processes that never rest, a start at the lowest priority takes minutes."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with serving(shared.file, "serve") as both:
        both.wait_for("daemon.started")
        assert both.end() == 0

    with closing(sqlite3.connect(shared.catalog, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with serving(shared.file, "work") as worker:
            wait_until(
                lambda: opened(worker.process, shared.catalog),
                within_seconds=COMMAND_TIMEOUT_SECONDS,
            )
            assert niceness(worker.process) == {before}
            other.execute("ROLLBACK")
            worker.wait_for("daemon.started")
            assert niceness(worker.process) == {LAST}


def test_a_worker_keeps_its_role_on_reload(shared: Workspace) -> None:
    """Whatever roles the file has, which is for others as well."""
    with serving(shared.file, "work") as worker:
        worker.wait_for("daemon.started")
        shared.write(SETTINGS.format(folder=shared.folder) + "\n[scrubber]\ndelay = '2h'")
        worker.reload()

        assert worker.wait_for("config.reloaded")["changes"].keys() == {"scrubber.delay"}
        assert worker.end() == 0


def test_a_session_of_its_own_has_the_smallest_share(shared: Workspace) -> None:
    """Niceness does not count between sessions, so the session gets a share."""
    with (shared.folder / "log").open("wb") as log:
        worker = subprocess.Popen(
            [IMAGED, "work", "--config", str(shared.file)],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=clean_environment(),
        )
    share = Path(f"/proc/{worker.pid}/autogroup")
    try:
        has_shares = AUTOGROUP.exists()  # else the kernel knows no shares of sessions

        def is_last() -> bool:
            if has_shares:
                return share.read_text().split()[1:] == ["nice", str(LAST)]
            return niceness(worker) == {LAST}

        wait_until(is_last, within_seconds=COMMAND_TIMEOUT_SECONDS)
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize(
    ("roles", "lane"),
    [
        (("tasks",), BackgroundLane),
        (("api", "tasks"), ThreadLane),
        (("scrubber", "tasks"), ThreadLane),
        (("api", "scrubber"), ThreadLane),
        (("api", "scrubber", "tasks"), ThreadLane),
    ],
)
def test_task_workers_write_through_background_lanes(
    shared: Workspace, roles: tuple[Role, ...], lane: LaneFactory
) -> None:
    """For a process with the role of tasks alone; others write for clients too."""
    assert lane_factory(load(shared.file).with_roles(roles)) is lane
