"""A real OpenStack Swift with its S3 interface (s3api), on loopback, in a temporary folder.

Its package is installed into a virtual environment of its own, once for all runs of a user, since
what it needs does not go together with ours. One device, one replica, keys of tempauth.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contracts.store_bucket import settings_for
from imaged.core.secret import Secret
from imaged.stores.s3.settings import S3Settings
from support.orphans import start
from support.ports import reserve_port
from support.seaweedfs import SECRET_KEY, has_bucket, plain_client
from support.virtualenvs import environment
from support.waiting import wait_until

PIP_PACKAGES = ("swift==2.38.3", "pyeclib==1.8.0", "setuptools<81")
SWIFT_ACCESS_KEY = "made:up"  # account and user
START_TIMEOUT_SECONDS = 60.0
SERVERS = ("account", "container", "object")

SWIFT = """
[swift-hash]
swift_hash_path_prefix = made
swift_hash_path_suffix = up
[storage-policy:0]
name = only
default = yes
"""
SERVER = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
fallocate_reserve = 1%
workers = 0
user = {user}
log_address = {folder}/none
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
workers = 0
user = {user}
log_address = {folder}/none
[pipeline:main]
pipeline = {pipeline} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_made_up = {secret} .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{cache_port}
"""
PLAIN_FILTERS = [
    "catch_errors", "gatekeeper", "listing_formats", "bulk", "s3api", "copy", "slo", "dlo",
    "versioned_writes", "symlink",
]  # fmt: skip
PIPELINE = (
    "catch_errors gatekeeper cache listing_formats bulk s3api tempauth copy slo dlo "
    "versioned_writes symlink"
)

#: Its programs look for swift.conf in /etc; each is told of ours before it begins.
RUN = """
import sys
from swift.common import utils
from swift.common.utils import base
base.SWIFT_CONF_FILE = utils.SWIFT_CONF_FILE = {swift_conf!r}
from swift.common.wsgi import run_wsgi
from swift.obj import server as objects
kind = sys.argv[1]
options = dict(global_conf_callback=objects.global_conf_callback) if kind == "object" else dict()
sys.exit(run_wsgi({folder!r} + "/" + kind + ".conf", kind + "-server", **options))
"""


@contextmanager
def swift() -> Iterator[S3Settings]:
    """Run a cluster with one empty bucket; nothing of it is left but what was installed.

    The bucket is a container of the account.
    """
    programs = environment("swift-2.38.3", *PIP_PACKAGES)
    folder = Path(tempfile.mkdtemp(prefix="swift-"))
    port, cache_port, *ports = (reserve_port() for _ in range(2 + len(SERVERS)))
    try:
        with ExitStack() as running:
            _write_configuration(folder, programs, [port, cache_port, *ports])
            memcached = ["memcached", "-l", "127.0.0.1", "-p", str(cache_port), "-u", _user()]
            start(running, folder / "memcached.out", memcached)
            for kind in (*SERVERS, "proxy"):
                program = [str(programs / "python"), str(folder / "run.py"), kind]
                start(running, folder / f"{kind}.out", program)
            endpoint = f"http://127.0.0.1:{port}"
            client = plain_client(endpoint, SWIFT_ACCESS_KEY)
            wait_until(lambda: has_bucket(client), within_seconds=START_TIMEOUT_SECONDS)
            yield settings_for(endpoint, access_key=Secret(SWIFT_ACCESS_KEY))
    finally:
        shutil.rmtree(folder)


def _write_configuration(folder: Path, programs: Path, all_ports: list[int]) -> None:
    port, cache_port, *ports = all_ports
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(SWIFT)
    for kind, kind_port in zip(SERVERS, ports, strict=True):
        text = SERVER.format(kind=kind, port=kind_port, folder=folder, user=_user())
        (folder / f"{kind}.conf").write_text(text)
        _make_ring(programs, folder / f"{kind}.builder", f"r1z1-127.0.0.1:{kind_port}/d1")
    text = PROXY.format(
        port=port, cache_port=cache_port, folder=folder, user=_user(), secret=SECRET_KEY,
        pipeline=PIPELINE,
    )  # fmt: skip
    for name in PLAIN_FILTERS:
        text += f"[filter:{name}]\nuse = egg:swift#{name}\n"
    (folder / "proxy.conf").write_text(text)
    run = RUN.format(swift_conf=str(folder / "swift.conf"), folder=str(folder))
    (folder / "run.py").write_text(run)


def _make_ring(programs: Path, builder: Path, device: str) -> None:
    program = str(programs / "swift-ring-builder")
    for step in (("create", "4", "1", "1"), ("add", device, "1"), ("rebalance",)):
        subprocess.run([program, str(builder), *step], check=True, capture_output=True)


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name
