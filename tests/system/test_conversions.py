"""Real daemons that convert real images with the real qemu-img, and what it gets to see."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiofiles
import pytest
import pytest_asyncio

from imaged.conversion.qemu_img import QEMU_FORMATS
from imaged.core.limits import MIB
from imaged.core.place_marker import MARKER_NAME
from support import disk_images
from support.client import Client
from support.daemon import Daemon, children_of
from support.imaged_process import IMAGED
from support.origin import Origin
from support.task_client import TaskClient
from support.waiting import until

pytestmark = [pytest.mark.system, pytest.mark.asyncio, pytest.mark.timeout(240)]


@pytest.fixture(autouse=True)
def programs() -> None:
    """What these tests run."""
    for program, package in (("qemu-img", "qemu-utils"), ("strace", "strace")):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: install the Debian package {package}.")


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    """A server that the daemon may fetch from."""
    async with Origin(host="127.0.0.2").running() as origin:
        yield origin


@pytest_asyncio.fixture
async def daemon(tmp_path: Path, origin: Origin) -> AsyncIterator[Daemon]:
    """One that may reach the server."""
    fetch = {"allow": ["127.0.0.2/32"], "ports": [80, origin.port]}
    daemon = Daemon(tmp_path, {"fetch": fetch, "uploads": {"max_size": "1GiB"}})
    await daemon.start()
    yield daemon
    await daemon.end(signal.SIGKILL)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk with something at its beginning and its end."""
    path = tmp_path / "disk"
    path.write_bytes(disk_images.raw(3 * MIB) + bytes(16 * MIB) + os.urandom(MIB))
    return path


def qemu_img(*arguments: str | Path) -> None:
    """Run it, not confined."""
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def read(path: Path) -> bytes:
    """All of it."""
    return path.read_bytes()


async def fetch(client: Client, image_id: str, path: Path) -> Path:
    """Keep an image's data as a file."""
    status, data = await client.request("GET", f"/v2/images/{image_id}/file")
    assert status == 200
    async with aiofiles.open(path, "wb") as file:
        await file.write(data)
    return path


def converters_of(daemon: Daemon) -> list[int]:
    """The processes that its worker has, also zombies."""
    assert daemon.process is not None
    workers = children_of(daemon.process.pid)
    return [child for worker in workers for child in children_of(worker)]


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):  # before it was looked at, or while
        return False


@pytest.mark.parametrize("name", [name for name in QEMU_FORMATS if name != "raw"])
async def test_every_format_there_and_back(
    daemon: Daemon, origin: Origin, disk: Path, tmp_path: Path, name: str
) -> None:
    """Imported as raw, converted to it; imported from it into raw: the disk is the same."""
    origin.body = read(disk)
    async with Client(daemon.url) as client:
        tasks = TaskClient(client)
        fields = {"import_from": origin.url, "import_from_format": "raw"}
        plain = await tasks.do("import", **fields)
        there = await tasks.do("convert", image_id=plain["result"]["image_id"], to_format=name)
        assert (there["status"], there["message"]) == ("success", None)
        made = await fetch(client, there["result"]["image_id"], tmp_path / name)
        origin.body = read(made)
        fields = {"import_from": origin.url, "import_from_format": name}
        back = await tasks.do("import", **fields, image_properties={"disk_format": "raw"})
        assert (back["status"], back["message"]) == ("success", None)
        again = await fetch(client, back["result"]["image_id"], tmp_path / "again")

    assert filecmp.cmp(again, disk, shallow=False)
    assert converters_of(daemon) == []
    assert [path.name for path in daemon.scratch.iterdir()] == [MARKER_NAME]


CRAFTED = {
    "backing file": ("qcow2", "a backing file"),
    "data file": ("qcow2", "an external data file"),
    "flat vmdk": ("vmdk", "a descriptor"),
    "extent elsewhere": ("vmdk", "a descriptor"),
    "descriptor alone": ("vmdk", ""),
    "qed": ("qcow2", "is qed"),
    "qcow1": ("qcow2", "not known to be safe"),
    "absurd size": ("qcow2", "a virtual size that no disk can have"),
    "too large": ("qcow2", "more than the 1073741824 that are accepted"),
    "two formats": ("qcow2", "is gpt and qcow2"),
    "not what it says": ("vdi", "The data is raw"),
    "parallels": ("qcow2", "The data is raw"),
}


#: What qemu-img makes itself; the paths are completed when it does.
MADE_BY_QEMU_IMG = {
    "backing file": "-f qcow2 -F raw -b {secret} {image}",
    "data file": "-f qcow2 -o data_file={folder}/data,data_file_raw=on {image} 1M",
    "flat vmdk": "-f vmdk -o subformat=monolithicFlat {image} 1M",
    "qed": "-f qed {image} 1M",
    "parallels": "-f parallels {image} 1M",
    "absurd size": "-f qcow2 -o cluster_size=2M {image} 60000T",
    "too large": "-f qcow2 {image} 2T",
}


def crafted(folder: Path, trick: str) -> bytes:
    """An image that wants more than it may have."""
    image, secret = folder / "crafted", folder / "secret"
    secret.write_bytes(b"what another tenant keeps here" * 1000)
    if trick in MADE_BY_QEMU_IMG:
        command = MADE_BY_QEMU_IMG[trick].format(folder=folder, image=image, secret=secret)
        qemu_img("create", *command.split())
        return image.read_bytes()
    return {
        "extent elsewhere": disk_images.vmdk(create_type="monolithicFlat", extent=str(secret)),
        "descriptor alone": disk_images.vmdk_descriptor(extent=str(secret)),
        "qcow1": disk_images.qcow1(),
        "two formats": disk_images.mbr(disk_images.qcow2()),
        "not what it says": disk_images.raw(),
    }[trick]


@pytest.mark.parametrize("trick", CRAFTED)
async def test_images_that_want_more_than_they_may_have(
    daemon: Daemon, origin: Origin, tmp_path: Path, trick: str
) -> None:
    """Import with and without conversion refuses them, and says why; no qemu-img sees them."""
    declared, why = CRAFTED[trick]
    origin.body = crafted(tmp_path, trick)
    async with Client(daemon.url) as client:
        tasks = TaskClient(client)
        fields = {"import_from": origin.url, "import_from_format": declared}
        for target in {declared, "raw"} - ({declared} if trick == "too large" else set()):
            task = await tasks.do("import", **fields, image_properties={"disk_format": target})
            assert task["status"] == "failure"
            assert why in task["message"], task["message"]
            assert "converted" not in task["message"]
        assert await client.list_all() == []
    assert [path.name for path in daemon.scratch.iterdir()] == [MARKER_NAME]


@pytest.mark.parametrize("trick", ["backing file", "data file", "extent elsewhere", "absurd size"])
async def test_images_that_were_never_inspected(daemon: Daemon, tmp_path: Path, trick: str) -> None:
    """Converting looks itself, whatever uploads are allowed to be."""
    declared, why = CRAFTED[trick]
    await daemon.end()
    daemon.configure(uploads={"check_format": False, "refuse_unsafe": False})
    await daemon.start()
    async with Client(daemon.url) as client:
        image_id = await client.create(disk_format=declared)
        assert await client.put(image_id, crafted(tmp_path, trick)) == 204

        task = await TaskClient(client).do("convert", image_id=image_id, to_format="raw")

        assert task["status"] == "failure"
        assert why in task["message"]
        assert len(await client.list_all()) == 1


@pytest.mark.parametrize("how", ["cancel", "kill"])
async def test_a_conversion_that_is_broken_off(daemon: Daemon, disk: Path, how: str) -> None:
    """By its owner, or with its killed daemon: no child works on."""
    with disk.open("r+b") as file:
        for _ in range(12):
            file.write(os.urandom(16 * MIB))
    async with Client(daemon.url) as client:
        tasks = TaskClient(client)
        image_id = await client.create()
        assert await client.put(image_id, read(disk)) == 204
        task_id = await tasks.ask("convert", image_id=image_id, to_format="vmdk")

        async def has_child() -> bool:
            assert (await tasks.show(task_id))["status"] in {"pending", "processing"}
            return bool(converters_of(daemon))

        await until(has_child, "nothing is converted")
        (child,) = converters_of(daemon)
        if how == "cancel":
            assert (await tasks.cancel(task_id))["status"] == "failure"
        else:
            await daemon.end(signal.SIGKILL)

        async def is_gone() -> bool:
            return not is_running(child)

        await until(is_gone, "the child works on", within_seconds=10)
        if how == "cancel":
            assert len(await client.list_all()) == 1

            async def is_clean() -> bool:
                left = [path.name for path in daemon.scratch.iterdir() if path.name != MARKER_NAME]
                return not left and not converters_of(daemon)

            await until(is_clean, "something is left")


async def test_it_opens_its_source_and_its_target_only(
    daemon: Daemon, disk: Path, tmp_path: Path
) -> None:
    """The daemon's own child, traced: beyond these two there are programs and what is refused."""
    trace = tmp_path / "trace"
    await daemon.end()
    wanted = "trace=execve,clone,clone3,open,openat,openat2,socket,connect,bind,sendto"
    strace = ("strace", "-f", "--seccomp-bpf", "-qq", "-o", str(trace), "-e", wanted)
    daemon.program = (*strace, IMAGED)
    daemon.launch()
    assert daemon.process is not None
    try:
        await daemon.wait_ready()
        async with Client(daemon.url) as client:
            image_id = await client.create()
            assert await client.put(image_id, read(disk)) == 204
            task = await TaskClient(client).do("convert", image_id=image_id, to_format="qcow2")
            assert (task["status"], task["message"]) == ("success", None)
    finally:
        for traced in children_of(daemon.process.pid):  # whom strace's own end would set free
            os.kill(traced, signal.SIGKILL)

    calls = calls_of_qemu_img(whole_calls(read(trace).decode().splitlines()))
    opened = {
        match[1]
        for call in calls
        if "open" in call and " = -1 " not in call and (match := re.search(r'"([^"]+)"', call))
    }
    own = ("/usr/", "/lib/", "/lib64/", "/dev/", "/etc/ld.so")
    files = sorted(path for path in opened if not path.startswith(own))
    assert [Path(path).name for path in files] == ["source", "target"]
    assert {Path(path).parent.parent for path in files} == {daemon.scratch}
    assert not [call for call in calls if re.search(r" (connect|bind|sendto)\(", call)]


def whole_calls(trace: list[str]) -> list[str]:
    """The calls in one line each: where another thread came between, strace writes two."""
    begun: dict[str, str] = {}
    calls = []
    for line in trace:
        thread, _, call = line.partition(" ")
        if line.endswith("<unfinished ...>"):
            begun[thread] = line.removesuffix("<unfinished ...>")
        elif " resumed>" in call and thread in begun:
            calls.append(begun.pop(thread) + call.partition(" resumed>")[2])
        else:
            calls.append(line)
    return calls


def calls_of_qemu_img(trace: list[str]) -> list[str]:
    """What it asked of the kernel once it had begun, in all of its threads."""
    begin = next(n for n, call in enumerate(trace) if re.search(r'execve\("[^"]+/qemu-img"', call))
    threads, calls = {trace[begin].split()[0]}, list[str]()
    for call in trace[begin + 1 :]:
        if call.split()[0] in threads:
            calls.append(call)
            if made := re.search(r"clone.* = (\d+)$", call):
                threads.add(made[1])
    assert calls
    return calls
