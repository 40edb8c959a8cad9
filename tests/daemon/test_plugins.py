"""A deployer's package beside imaged: its task type and its import check are used."""

from __future__ import annotations

import hashlib
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imaged.ports.disk_image import ImportFacts
from support import disk_images
from support.client import Client
from support.command import Workspace
from support.daemon import Daemon
from support.origin import Origin
from support.task_client import TaskClient

pytestmark = pytest.mark.timeout(180)

PLUGIN = Path(__file__).parents[1] / "support" / "example_plugin"
KEY = b"-----BEGIN OPENSSH " + b"PRIVATE KEY-----"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed into a folder without any index."""
    folder = tmp_path_factory.mktemp("plugins")
    wheel = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    more = ["--no-build-isolation", "--target", str(folder), str(PLUGIN)]
    done = subprocess.run([*wheel, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.asyncio
async def test_its_type_and_its_check_are_at_work(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks use the plugin end to end."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    body = disk_images.raw() + bytes(1000) + KEY
    async with Origin(body, host="127.0.0.2").running() as origin:
        fetch = {"allow": ["127.0.0.2/32"], "ports": [80, origin.port]}
        daemon = Daemon(tmp_path, {"fetch": fetch})
        await daemon.start()
        fields = {"import_from": origin.url, "import_from_format": "raw"}
        try:
            async with Client(daemon.url) as client:
                tasks = TaskClient(client)
                refused = await tasks.do("import", **fields)
                properties = {"may_have_keys": "yes"}
                trusted = await tasks.do("import", **fields, image_properties=properties)
                image_id = trusted["result"]["image_id"]
                counted = await tasks.do("count_zeros", image_id=image_id)
                missing = {"type": "count_zeros", "input": {}}
                status, answer = await client.request("POST", "/v2/tasks", json=missing)
                _, schema = await client.request("GET", "/v2/schemas/task")
                digest = await client.digest(image_id)
        finally:
            await daemon.end(signal.SIGKILL)

    sentence = "The check 'no-private-keys' refused the image: it has a private key in it."
    assert (refused["status"], refused["message"]) == ("failure", sentence)
    assert digest == hashlib.sha512(body).hexdigest()
    assert counted["result"] == {"zeros": body.count(0), "size_bytes": len(body)}
    assert (status, b"'image_id'" in answer) == (400, True)
    assert b'"count_zeros"' in schema


@pytest.mark.parametrize(
    ("group", "target", "sentence"),
    [
        ("imaged.tasks", "broken:nothing", "The task type of the entry point 'odd' cannot be used"),
        ("imaged.tasks", "broken:verify", "there is a type 'verify' already"),
        ("imaged.import_checks", "broken:fails", "The import check of the entry point 'odd'"),
    ],
)
def test_a_package_that_is_broken(
    workspace: Workspace, group: str, target: str, sentence: str
) -> None:
    """A broken plugin stops the start, and one line names it."""
    site = workspace.folder / "site"
    folder = site / "broken-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1")
    (folder / "entry_points.txt").write_text(f"[{group}]\nodd = {target}\n")
    (site / "broken.py").write_text(
        "from imaged.services.tasks.types.verify import Verify\n"
        "def verify(services):\n    return Verify(None, None, None)\n"
        "def fails():\n    raise RuntimeError('no list of words')\n"
    )

    done = workspace.imaged("serve", PYTHONPATH=str(site))

    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mark_across_two_chunks(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's check works for any split of the bytes."""
    monkeypatch.syspath_prepend(str(installed))
    no_private_keys = importlib.import_module("image_rules.no_private_keys")

    facts = ImportFacts(owner="p1", disk_format="raw", properties={}, source="images.example")
    body = os.urandom(100) + KEY + os.urandom(100)
    for size in (1, 7, 64, 1000):
        look = no_private_keys.NoPrivateKeys().begin(facts)
        for start in range(0, len(body), size):
            look.feed(body[start : start + size])
        assert look.verdict() == "it has a private key in it."
