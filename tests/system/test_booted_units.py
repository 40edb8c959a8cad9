"""What the units let imaged do, shut in as they are: all of its work, and nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from imaged.core.place_marker import MARKER_NAME
from support.booted import Machine, until
from support.machine_client import MachineClient
from support.postgresql import Server, execute
from support.seaweedfs import ACCESS_KEY, BUCKET, SECRET_KEY, SeaweedFS, seaweedfs

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PASSWORD = "made-up-for-a-database"
SECRETS = {
    "stores.cloud.access_key": ACCESS_KEY,
    "stores.cloud.secret_key": SECRET_KEY,
    "catalog.password": PASSWORD,
}
KEYS = (
    f"IMAGED_STORES__CLOUD__ACCESS_KEY={ACCESS_KEY}",
    f"IMAGED_STORES__CLOUD__SECRET_KEY={SECRET_KEY}",
)  # for commands of root, which get no credentials
DISK_BYTES = 4 * 1024**2
NO_TASKS = (
    '[daemon]\nroles = ["api", "scrubber"]'  # in the file, which imaged-tasks.service reads too
)


@dataclass(frozen=True)
class Servers:
    """A bucket and a database in the machine's network."""

    bucket: SeaweedFS
    database: Server

    def use(self, machine: Machine) -> None:
        """Have all services keep images there, with secrets that only root and systemd can read."""
        machine.run("sed", "-i", "/^\\[stores/,/^file_mode/d", "/etc/imaged/imaged.toml")
        machine.run("sed", "-i", "/^\\[catalog/,/^password_file/d", "/etc/imaged/imaged.toml")
        machine.configure(
            f"""
            [catalog]
            url = "postgresql://imaged@127.0.0.1:{self.database.port}/imaged"
            [stores]
            default = "cloud"
            [stores.cloud]
            type = "s3"
            endpoint = "{self.bucket.endpoint}"
            bucket = "{BUCKET}"
            [scrubber]
            delay = "0"
            every = "300ms"
            """
        )
        lines = ["[Service]"]
        for name, secret in SECRETS.items():
            machine.write(f"/etc/imaged/secrets/{name}", secret, mode=0o600)
            lines.append(f"LoadCredential={name}:/etc/imaged/secrets/{name}")
        for unit in ("imaged", "imaged-scrubber", "imaged-tasks", "imaged-backup"):
            place = f"/etc/systemd/system/{unit}.service.d/secrets.conf"
            machine.write(place, "\n".join([*lines, ""]))
        machine.systemctl("daemon-reload")
        # A new catalog is not made over stores that hold images: they are looked into.
        machine.run("env", f"PGPASSWORD={PASSWORD}", *KEYS, "imaged", "migrate")

    def install_programs(self, machine: Machine) -> None:
        """Those that copy the database, as new as its server; they look for libraries beside it."""
        folders = self.database.programs.parents
        for place in (self.database.programs, folders[1].with_name(f"{folders[1].name}.libs")):
            there = machine.path(f"/opt/postgresql/{place.relative_to(folders[2])}")
            shutil.copytree(place, there, dirs_exist_ok=True)
        programs = Path("/opt/postgresql") / self.database.programs.relative_to(folders[2])
        for name in ("pg_dump", "pg_restore"):
            machine.run("ln", "-sf", f"{programs / name}", f"/usr/bin/{name}")


@pytest.fixture
def servers(machine: Machine) -> Iterator[Servers]:
    """Started for one test."""
    with ExitStack() as opened:
        bucket = machine.inside(lambda: opened.enter_context(seaweedfs()))
        database = Server()
        opened.callback(database.remove)
        machine.inside(database.start)
        for statement in (
            f"CREATE ROLE imaged LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE imaged OWNER imaged",
        ):
            machine.inside(partial(asyncio.run, execute(database.url, statement)))
        servers = Servers(bucket, database)
        servers.use(machine)
        yield servers


@pytest.mark.usefixtures("servers")
def test_services_of_their_own_reach_bucket_and_database(machine: Machine) -> None:
    """Beside one that only answers, imaged-tasks.service works, imaged-scrubber.service deletes:
    with credentials that imaged's user cannot read, and that stay secret.
    """
    machine.override("imaged.service", {"Environment": "IMAGED_DAEMON__ROLES=api"})
    client = MachineClient(machine)
    machine.systemctl("start", "imaged", "imaged-tasks")
    machine.systemctl("reload", "imaged")  # its check cannot see them, and does not miss them
    image_id = client.store()
    assert client.download(image_id) == b"data"
    task = client.work("verify", image_id=image_id)
    assert (task["status"], task["result"]["healthy"]) == ("success", True), task
    environment = machine.path(f"/proc/{machine.show('imaged', 'MainPID')}/environ").read_text()
    for name, secret in SECRETS.items():
        owner = machine.run("stat", "--format=%U %G %a", f"/etc/imaged/secrets/{name}")
        assert owner.split() == ["root", "root", "600"]
        assert secret not in environment + machine.log("imaged")
    client.delete(image_id)

    machine.systemctl("start", "imaged-scrubber")

    until(
        lambda: machine.log("imaged-scrubber"),
        lambda log: "scrub.finished" in log,
        lambda: machine.log("imaged-scrubber"),
    )
    assert machine.show("imaged-scrubber", "StatusText").startswith("ready: ")


def test_a_database_is_backed_up_by_its_service(machine: Machine, servers: Servers) -> None:
    """pg_dump runs as a child of a service that is shut in itself, and gets its credential; what it
    wrote is restored.
    """
    servers.install_programs(machine)
    folder = "/var/lib/imaged/backups"
    machine.override("imaged-backup.service", {"Environment": f"IMAGED_BACKUP__FOLDER={folder}"})
    client = MachineClient(machine)
    machine.systemctl("start", "imaged")
    image_id = client.store()
    machine.systemctl("start", "imaged-backup")
    (made,) = machine.path(folder).glob("2*")
    client.delete(image_id)
    machine.systemctl("stop", "imaged")
    assert PASSWORD not in machine.log("imaged-backup")

    told = machine.run(
        *("env", f"PGPASSWORD={PASSWORD}", *KEYS),
        *("imaged", "restore-backup", f"{folder}/{made.name}", "--replace"),
    )

    assert "catalog: 1 image in " in told
    machine.systemctl("start", "imaged")
    assert client.show(image_id)["status"] == "active"


def test_uploads_and_scrubs_are_all_that_it_needs(machine: Machine) -> None:
    """With a folder and SQLite: data comes, is given again and goes; nothing was forbidden."""
    machine.configure("[scrubber]\ndelay = '0'\nevery = '300ms'")
    machine.systemctl("start", "imaged")
    client = MachineClient(machine)
    image_id = client.store(b"data" * 1024**2)
    assert client.download(image_id) == b"data" * 1024**2

    assert machine.stored()

    client.delete(image_id)

    until(machine.stored, lambda files: not files, lambda: machine.log("imaged"))
    assert not re.search("error|denied|not permitted", machine.log("imaged"), re.IGNORECASE)


@pytest.mark.parametrize("worker", ["imaged", "imaged-tasks"])
def test_images_are_converted(machine: Machine, worker: str) -> None:
    """qemu-img runs as a confined child of a service that is shut in itself."""
    if worker != "imaged":
        machine.configure(NO_TASKS)
    machine.systemctl("start", "imaged", worker)
    client = MachineClient(machine)
    machine.run("qemu-img", "create", "-q", "-f", "qcow2", "/srv/disk.qcow2", str(DISK_BYTES))
    source_id = client.store(machine.path("/srv/disk.qcow2").read_bytes(), disk_format="qcow2")

    task = client.work("convert", image_id=source_id, to_format="raw")

    assert task["status"] == "success", (task, machine.log(worker))
    assert client.download(task["result"]["image_id"]) == bytes(DISK_BYTES)
    scratch = machine.path("/var/lib/imaged/scratch")
    assert [path.name for path in scratch.iterdir()] == [MARKER_NAME]
    assert f"TASK_ID={task['id']}" in machine.run("journalctl", f"--unit={worker}", "-o", "export")


def test_a_refused_priority_does_not_stop_a_worker(machine: Machine) -> None:
    """A sandbox may refuse it; the log of level debug says so."""
    machine.configure(NO_TASKS)
    machine.override(
        "imaged-tasks.service",
        {"SystemCallFilter": "~setpriority", "Environment": "IMAGED_LOG__LEVEL=debug"},
    )
    machine.systemctl("start", "imaged", "imaged-tasks")
    client = MachineClient(machine)
    image_id = client.store()

    assert client.work("verify", image_id=image_id)["status"] == "success"
    assert "priority.refused" in machine.log("imaged-tasks")


def test_several_instances_share_a_host(machine: Machine) -> None:
    """Each has a file of its own, all have one catalog; one can stop without the other."""
    for name, port in (("east", 9301), ("west", 9302)):
        sockets = f'["127.0.0.1:{port}", "unix:/run/imaged-{name}/api.sock"]'
        text = f'[daemon]\nname = "{name}"\n[api]\nbind = {sockets}\n'
        machine.write(f"/etc/imaged/{name}.toml", text)
    machine.systemctl("start", "imaged@east", "imaged@west")
    east, west = MachineClient(machine, 9301), MachineClient(machine, 9302)
    image_id = east.store()
    assert west.download(image_id) == b"data"
    told = json.loads(machine.run("imaged", "status", "--json"))
    assert {instance["id"][:4] for instance in told["instances"]} == {"east", "west"}

    machine.systemctl("stop", "imaged@east")

    assert west.download(image_id) == b"data"
    assert machine.path("/run/imaged-west/api.sock").is_socket()
    assert not machine.path("/run/imaged-east").exists()
