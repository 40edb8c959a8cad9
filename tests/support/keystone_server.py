"""The program that serves Keystone: run by the Python of Keystone's environment, not by ours.

``keystone_server.py FOLDER PORT PASSWORD``; the folder has ``keystone.conf``. Its first run makes
the tables, the keys, and what ``keystone-manage bootstrap`` makes: the user ``admin`` with this
password, its project, the roles, and the service of identity in the region ``RegionOne``. All in
one process, because the imports take longer than everything else.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import keystone.server
import waitress
from keystone.cmd.bootstrap import Bootstrapper
from keystone.common.fernet_utils import FernetUtils
from keystone.common.sql import upgrades
from keystone.conf import CONF
from keystone.server.flask.core import initialize_application

THREADS = 8


def main(folder: Path, port: int, password: str) -> None:
    """Serve on the loopback, until killed."""
    config, mark = [str(folder / "keystone.conf")], folder / "bootstrapped"
    if not mark.exists():
        prepare(config, f"http://127.0.0.1:{port}/v3", password)
        mark.touch()
    application = initialize_application("public", config_files=config)
    waitress.serve(application, sockets=[listener(port)], threads=THREADS)


def prepare(config: list[str], url: str, password: str) -> None:
    """In a child, because a process can read its configuration only once."""
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit("Keystone could not be prepared")
        return
    keystone.server.configure(config_files=config)
    upgrades.offline_sync_database_to_version()
    for group in ("fernet_tokens", "credential"):
        keys = FernetUtils(CONF[group].key_repository, CONF.fernet_tokens.max_active_keys, group)
        keys.create_key_directory()
        keys.initialize_key_repository()
    bootstrapper = Bootstrapper()
    bootstrapper.admin_username = bootstrapper.admin_role_name = bootstrapper.project_name = "admin"
    bootstrapper.admin_password = password
    bootstrapper.service_name, bootstrapper.region_id = "keystone", "RegionOne"
    bootstrapper.public_url = bootstrapper.internal_url = bootstrapper.admin_url = url
    bootstrapper.bootstrap()
    os._exit(0)


def listener(port: int) -> socket.socket:
    """Bound beside the socket that reserves the port (``support/ports.py``); waitress listens."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


if __name__ == "__main__":
    arguments = sys.argv[1:]
    del sys.argv[1:]  # Keystone would read them as its own
    main(Path(arguments[0]), int(arguments[1]), arguments[2])
