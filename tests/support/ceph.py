"""A real Ceph with its S3 gateway (RGW), of Debian's packages, on loopback, in a temporary folder.

One node: a monitor, a manager, one disk in a sparse file and the gateway. It is up in about 15
seconds and knows nothing of the machine's own configuration.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from contracts.store_bucket import settings_for
from imaged.stores.s3.settings import S3Settings
from support.orphans import start
from support.ports import reserve_port
from support.seaweedfs import ACCESS_KEY, SECRET_KEY, has_bucket, plain_client
from support.waiting import wait_until

START_TIMEOUT_SECONDS = 60.0
ADMIN_KEYRING = "client.admin"
GATEWAY = "client.gateway"

CONFIGURATION = """
[global]
fsid = {fsid}
keyring = {folder}/keyring
log file = {folder}/$name.log
admin socket = {folder}/$name.sock
run dir = {folder}
crash dir = {folder}
mon initial members = a
mon host = v1:127.0.0.1:{monitor_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data = {folder}/mon
mon data avail crit = 1
mon data avail warn = 2
mgr data = {folder}/mgr
osd data = {folder}/osd
bluestore block size = 8589934592
osd memory target = 939524096
rgw data = {folder}/gateway
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 32
rgw gc obj min wait = 5
rgw gc processor period = 5
rgw bucket quota ttl = 0
"""

#: The users, and what each may do.
KEYRING_CAPABILITIES = {
    "mon.": ("mon", "allow *"),
    ADMIN_KEYRING: ("mon", "allow *", "osd", "allow *", "mgr", "allow *"),
    "osd.0": ("mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd"),
    "mgr.x": ("mon", "allow profile mgr", "osd", "allow *"),
    GATEWAY: ("mon", "allow rw", "osd", "allow rwx", "mgr", "allow rw"),
}


@dataclass(frozen=True)
class Ceph:
    """A cluster that runs."""

    folder: Path
    port: int
    monitor_port: int

    @property
    def endpoint(self) -> str:
        """Where its gateway speaks S3."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> S3Settings:
        """Its bucket. It ignores CRCs, and compares MD5."""
        return settings_for(self.endpoint, checksum="md5")

    def limit_bucket(self, bucket: str, size_bytes: int) -> None:
        """Set the quota of a bucket; less than 0: none."""
        self.run(
            "radosgw-admin", "quota", "set", "--quota-scope=bucket", f"--bucket={bucket}",
            f"--max-size={size_bytes}", "--uid=imaged",
        )  # fmt: skip
        state = "enable" if size_bytes >= 0 else "disable"
        self.run(
            "radosgw-admin", "quota", state, "--quota-scope=bucket", f"--bucket={bucket}",
            "--uid=imaged",
        )  # fmt: skip

    def run(self, *command: str, name: str = ADMIN_KEYRING) -> str:
        """What a tool of Ceph says."""
        done = subprocess.run(
            [*command, "-n", name],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_SECONDS,
        )
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """That leads all its programs to its own configuration."""
        return {"PATH": os.environ["PATH"], "CEPH_CONF": str(self.folder / "ceph.conf")}


@contextmanager
def ceph() -> Iterator[Ceph]:
    """Run a cluster with one empty bucket; nothing of it is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ceph-", dir="/tmp"))
    port, monitor_port = reserve_port(), reserve_port()
    cluster = Ceph(folder, port, monitor_port)
    try:
        with ExitStack() as running:
            _write_configuration(cluster)
            _start_monitor(cluster, running)
            _start_disk(cluster, running)
            _start(cluster, running, "ceph-mgr", "-i", "x")
            _start(cluster, running, "radosgw", "-n", GATEWAY)
            _make_user_and_bucket(cluster)
            yield cluster
    finally:
        shutil.rmtree(folder)


def _write_configuration(cluster: Ceph) -> None:
    folder = cluster.folder
    for name in ("mon", "mgr", "osd", "gateway"):
        (folder / name).mkdir()
    text = CONFIGURATION.format(
        fsid=uuid4(), folder=folder, port=cluster.port, monitor_port=cluster.monitor_port
    )
    (folder / "ceph.conf").write_text(text)
    for name, caps in KEYRING_CAPABILITIES.items():
        pairs = zip(caps[::2], caps[1::2], strict=True)
        options = [option for kind, allowed in pairs for option in ("--cap", kind, allowed)]
        create = [] if (folder / "keyring").exists() else ["--create-keyring"]
        keyring = str(folder / "keyring")
        _call(cluster, "ceph-authtool", *create, keyring, "--gen-key", "-n", name, *options)


def _start_monitor(cluster: Ceph, running: ExitStack) -> None:
    folder = cluster.folder
    fsid = (folder / "ceph.conf").read_text().split("fsid = ")[1].split("\n")[0]
    address, map_ = f"[v1:127.0.0.1:{cluster.monitor_port}]", str(folder / "monmap")
    _call(cluster, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, map_)
    _call(
        cluster, "ceph-mon", "--mkfs", "-i", "a", "--monmap", map_,
        "--keyring", str(folder / "keyring"),
    )  # fmt: skip
    _start(cluster, running, "ceph-mon", "-i", "a")
    cluster.run("ceph", "-s")


def _start_disk(cluster: Ceph, running: ExitStack) -> None:
    uuid = str(uuid4())
    cluster.run("ceph", "osd", "new", uuid, "0")
    _call(cluster, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", uuid)
    _start(cluster, running, "ceph-osd", "-i", "0")
    cluster.run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=here")


def _make_user_and_bucket(cluster: Ceph) -> None:
    cluster.run(
        "radosgw-admin", "user", "create", "--uid=imaged", "--display-name=imaged",
        f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}",
    )  # fmt: skip
    client = plain_client(cluster.endpoint)
    wait_until(lambda: has_bucket(client), within_seconds=START_TIMEOUT_SECONDS)


def _call(cluster: Ceph, *command: str) -> None:
    subprocess.run(command, env=cluster.environment, check=True, capture_output=True)


def _start(cluster: Ceph, running: ExitStack, *command: str) -> None:
    """In the foreground, so that it is a child of ours."""
    log = cluster.folder / f"{command[0]}.out"
    start(running, log, [*command, "-f"], env=cluster.environment)
