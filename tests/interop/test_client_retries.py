"""Clients that repeat a broken upload by themselves, and do not rewind their file.

Each version has a virtual environment of its own, made from the package index and kept beside that
of the tests: ``make test-clients``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.client import Client
from support.daemon import Daemon, clean_environment
from support.tcp_proxy import HttpProxy
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.clients, pytest.mark.timeout(600)]

FILE = os.urandom(9_000_000)
CUT = 5_000_000

#: As ``openstack image create --file`` uploads, with the retries that clouds.yaml can ask for.
SDK = """
import json, sys
from keystoneauth1 import noauth, session
from openstack import connection, exceptions

url, image_id, file = sys.argv[1:]
cloud = connection.Connection(
    session=session.Session(auth=noauth.NoAuth(endpoint=url)),
    image_endpoint_override=url, image_api_version="2", region_name="here",
    image_connect_retries=3, image_status_code_retries=3,
)
image = cloud.image.get_image(image_id)
with open(file, "rb") as data:
    image.data = data
    try:
        exceptions.raise_from_response(image.upload(cloud.image))
        print(json.dumps("success"))
    except Exception as error:
        print(json.dumps(type(error).__name__ + ": " + str(error)))
"""

#: As Nova and Cinder upload: the same open file is handed over again after what may pass.
GLANCECLIENT = """
import json, sys, time
from glanceclient import exc
from glanceclient.v2.client import Client

url, image_id, file = sys.argv[1:]
glance = Client(endpoint=url, token="none")
passing = (exc.ServiceUnavailable, exc.InvalidEndpoint, exc.CommunicationError)
with open(file, "rb") as data:
    for attempt in range(3):
        try:
            glance.images.upload(image_id, data)
            print(json.dumps("success"))
            break
        except passing as error:
            until = time.monotonic() + 60
            while glance.images.get(image_id).status != "queued" and time.monotonic() < until:
                time.sleep(0.05)  # in a process of its own; the daemon tells no one else
        except Exception as error:
            print(json.dumps(type(error).__name__ + ": " + str(error)))
            break
    else:
        print(json.dumps("given up"))
"""

#: With what refuses the rest, as the client tells it. openstacksdk 4.22 announces the size of the
#: whole file (``X-OpenStack-Image-Size``) also when it sends the rest: refused for its size.
CLIENTS = [
    ("openstacksdk==4.17.0", SDK, "409"),
    ("openstacksdk==4.22.0", SDK, "400"),
    ("python-glanceclient==4.13.0", GLANCECLIENT, "HTTPConflict"),
]


async def run(*command: str | Path) -> str:
    """Run a program; its output. It must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=clean_environment() | {"HOME": "/nonexistent"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def python_with(package: str) -> Path:
    """The interpreter of a virtual environment with this package, made where it is missing."""
    folder = Path(sys.prefix) / "clients" / package
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        await run(sys.executable, "-m", "venv", "--clear", folder)
        await run(python, "-m", "pip", "install", "--quiet", package, "setuptools<81")
        (folder / "complete").touch()
    return python


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A running daemon."""
    running = Daemon(tmp_path)
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


@pytest.mark.parametrize(("package", "program", "refusal"), CLIENTS)
async def test_what_a_client_repeats_is_whole_or_refused(
    daemon: Daemon, package: str, program: str, refusal: str
) -> None:
    """The connection breaks in the middle, and the client goes on as it does: it says success of
    the whole file or none at all; and the whole file is taken afterwards.
    """
    python = await python_with(package)
    file = daemon.folder / "disk.raw"
    file.write_bytes(FILE)
    line = HttpProxy(daemon.port, up_bytes=[CUT])
    async with Client(daemon.url) as client, line.running():
        url = line.url
        image_id = await client.create()

        said = json.loads(await run(python, "-c", program, url, image_id, str(file)))

        puts = [head for head in line.heads if head.startswith(b"PUT ")]
        assert len(puts) > 1, f"it did not repeat: {said}"

        async def has_ended() -> bool:
            return (await client.show(image_id))["status"] in {"queued", "active"}

        await until(has_ended, "the image is left in the middle")
        image = await client.show(image_id)
        assert (image["status"] == "active") == (said == "success"), said
        if said != "success":
            assert refusal in said
            again = await run(python, "-c", program, daemon.url, image_id, str(file))
            assert json.loads(again) == "success"
        await require_whole(client, image_id)


async def require_whole(client: Client, image_id: str) -> None:
    """The image is the file."""
    image: dict[str, Any] = await client.show(image_id)
    assert (image["status"], image["size"]) == ("active", len(FILE))
    assert image["os_hash_value"] == hashlib.sha512(FILE).hexdigest()
