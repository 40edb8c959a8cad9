"""Ansible with its collection for OpenStack, in an environment of its own.

On package indexes the collection is only within the package `ansible`, beside a hundred others that
take half a gigabyte: it alone is unpacked.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

from support.cloud import Cloud
from support.daemon import clean_environment
from support.virtualenvs import pinned_environment

PACKAGE = "ansible==12.3.0"  # has the collection in version 2.5.0
COLLECTION = "ansible_collections/openstack/cloud/"


def programs() -> Path:
    """The folder of its programs; the collection is in ``collections`` beside it."""
    folder = pinned_environment("ansible")
    collections = folder.with_name("collections")
    if not collections.exists():
        with TemporaryDirectory(dir=folder.parent) as made:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", made]
            subprocess.run([*pip, PACKAGE], check=True)
            (wheel,) = Path(made).glob("*.whl")
            unpacked = Path(made, "collections")
            with ZipFile(wheel) as archive:
                names = [one for one in archive.namelist() if one.startswith(COLLECTION)]
                archive.extractall(unpacked, names)
            unpacked.rename(collections)
    return folder


async def run_module(cloud: Cloud, module: str, /, **arguments: object) -> Mapping[str, Any]:
    """Run a module on this machine, as a playbook would; what it returns.

    Its argument ``cloud`` is a name in the clouds.yaml of the daemon's folder.
    """
    folder = programs()
    environment = clean_environment() | {
        "HOME": str(cloud.daemon.folder),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(folder.with_name("collections")),
        "ANSIBLE_PYTHON_INTERPRETER": str(folder / "python"),
        "PYTHONWARNINGS": "ignore",
    }
    process = await asyncio.create_subprocess_exec(
        str(folder / "ansible"), "localhost", "--connection", "local", "--one-line",
        "--module-name", f"openstack.cloud.{module}", "--args", json.dumps(arguments),
        cwd=cloud.daemon.folder, env=environment, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    said = output.decode()
    assert process.returncode == 0, said + errors.decode()
    told: Mapping[str, Any] = json.loads(said[said.index("{") :])
    return told
