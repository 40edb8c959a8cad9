"""Conversions by the real qemu-img: every format there and back, and every trick refused."""

from __future__ import annotations

import asyncio
import filecmp
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.conversion.qemu_img import QEMU_FORMATS, QemuImg, QemuImgSettings
from imaged.core.errors import ConversionFailed, ConversionRefused
from imaged.core.limits import MIB
from support.settings import configured

pytestmark = [pytest.mark.system, pytest.mark.asyncio]

DISK = 24 * MIB
SECRET = b"what another tenant keeps here" * 1000


@pytest.fixture(autouse=True)
def programs() -> None:
    """What these tests run."""
    for program, package in (("qemu-img", "qemu-utils"), ("strace", "strace")):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: install the Debian package {package}.")


@pytest.fixture
def converter() -> QemuImg:
    """With the limits that it has by default."""
    return QemuImg(configured(QemuImgSettings))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk with something at its beginning and its end."""
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(3 * MIB) + bytes(DISK - 4 * MIB) + os.urandom(MIB))
    return path


def empty(path: Path) -> Path:
    """A file to write to."""
    path.write_bytes(b"")
    return path


def make(*arguments: str | Path) -> None:
    """Have qemu-img make an image, not confined."""
    subprocess.run(["qemu-img", "create", "-q", *arguments], check=True, capture_output=True)


def make_from(disk: Path, *arguments: str | Path) -> None:
    """Have qemu-img make an image of a disk, not confined."""
    command = ["qemu-img", "convert", "-f", "raw", disk, *arguments]
    subprocess.run(command, check=True, capture_output=True)


def file_of_a_package() -> Path:
    """One that every user may read."""
    files = (path for path in Path("/usr/share").rglob("*") if not path.is_symlink())
    return next(path for path in files if path.is_file())


async def convert(
    converter: QemuImg, source: Path, source_format: str, target: Path, target_format: str
) -> list[float]:
    """What was told on the way."""
    told: list[float] = []
    await converter.convert(source, source_format, empty(target), target_format, told.append)
    return told


@pytest.mark.parametrize("name", QEMU_FORMATS)
async def test_every_format_there_and_back(
    converter: QemuImg, disk: Path, tmp_path: Path, name: str
) -> None:
    """The disk is the same afterwards, and its owner can follow."""
    there = await convert(converter, disk, "raw", tmp_path / "image", name)
    back = await convert(converter, tmp_path / "image", name, tmp_path / "back", "raw")

    assert filecmp.cmp(tmp_path / "back", disk, shallow=False)
    for told in (there, back):
        assert told == sorted(told)
        assert told[-1] == 1.0


async def test_a_format_that_cannot_be_converted(converter: QemuImg) -> None:
    """It is said before anything runs."""
    with pytest.raises(ConversionRefused, match="ploop"):
        converter.require_able("raw", "ploop")
    with pytest.raises(ConversionRefused, match="iso"):
        converter.require_able("iso", "raw")


async def test_a_machine_without_qemu_img(
    converter: QemuImg, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The remedy has the name of the package."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ConversionRefused, match="qemu-utils"):
        converter.require_able("raw", "qcow2")


TRICKS = ["backing file", "data file", "flat extent", "file of a package"]


@pytest.mark.parametrize("trick", TRICKS)
async def test_files_that_an_image_names_are_not_opened(
    converter: QemuImg, tmp_path: Path, trick: str
) -> None:
    """Even if the image was not inspected before."""
    (tmp_path / "secret").write_bytes(SECRET)
    source, name = tmp_path / "image", "qcow2"
    match trick:
        case "backing file":
            make("-f", "qcow2", "-b", tmp_path / "secret", "-F", "raw", source)
        case "data file":
            options = f"data_file={tmp_path / 'data'},data_file_raw=on"
            make("-f", "qcow2", "-o", options, source, "1M")
            shutil.copy(tmp_path / "secret", tmp_path / "data")
        case "file of a package":
            make("-f", "qcow2", "-b", file_of_a_package(), "-F", "raw", source, "1M")
        case _:
            name = "vmdk"
            make("-f", "vmdk", "-o", "subformat=monolithicFlat", source, "1M")
            shutil.copy(tmp_path / "secret", tmp_path / "image-flat.vmdk")

    with pytest.raises(ConversionFailed):
        await convert(converter, source, name, tmp_path / "target", "raw")

    assert SECRET[:64] not in (tmp_path / "target").read_bytes()


async def test_bytes_that_are_not_what_they_are_said_to_be(
    converter: QemuImg, disk: Path, tmp_path: Path
) -> None:
    """The sentence is ours; qemu-img's own words, with names of files, are in the log alone."""
    with capture_logs() as lines, pytest.raises(ConversionFailed) as failure:
        await convert(converter, disk, "qcow2", tmp_path / "target", "raw")

    assert "qemu-img cannot read it as qcow2: it is damaged" in str(failure.value)
    assert str(tmp_path) not in str(failure.value)
    (line,) = (line for line in lines if line["event"] == "conversion.failed")
    assert "not in qcow2 format" in line["said"]


@pytest.mark.parametrize("name", ["qcow2", "vmdk", "vdi", "vhd", "vhdx"])
async def test_a_disk_that_was_cut(
    converter: QemuImg, disk: Path, tmp_path: Path, name: str
) -> None:
    """QEMU would read zeros where bytes are missing; it is refused before that."""
    image = tmp_path / "image"
    options = ["-o", "subformat=monolithicSparse"] if name == "vmdk" else []
    make_from(disk, "-O", QEMU_FORMATS[name], *options, image)
    os.truncate(image, image.stat().st_size - 2 * MIB)
    target = tmp_path / "target"

    with pytest.raises(ConversionFailed, match="send the whole file"):
        await convert(converter, image, name, target, "raw")

    assert target.stat().st_size == 0


async def test_tables_that_contradict_each_other(
    converter: QemuImg, disk: Path, tmp_path: Path
) -> None:
    """Two blocks of the disk are said to be in the same place."""
    image = tmp_path / "image"
    make_from(disk, "-O", "vdi", image)
    with image.open("r+b") as file:
        file.seek(512)  # its table of blocks
        file.write(bytes(8))

    with pytest.raises(ConversionFailed, match="its tables contradict each other"):
        await convert(converter, image, "vdi", tmp_path / "target", "raw")


async def test_space_that_leaks_is_no_damage(
    converter: QemuImg, disk: Path, tmp_path: Path
) -> None:
    """A qcow2 whose writer was killed has clusters that nothing refers to."""
    image = tmp_path / "image"
    make_from(disk, "-O", "qcow2", image)
    with image.open("r+b") as file:
        file.seek(2 * 64 * 1024 + 2 * 600)  # the count of references of a free cluster
        file.write(b"\0\1")
        file.truncate(601 * 64 * 1024)

    await convert(converter, image, "qcow2", tmp_path / "target", "raw")

    assert filecmp.cmp(tmp_path / "target", disk, shallow=False)


@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
@pytest.mark.parametrize("creator", [b"vbox", b"qemu", b"vpc ", b"win "])
async def test_a_vhd_keeps_its_size(
    converter: QemuImg, disk: Path, tmp_path: Path, subformat: str, creator: bytes
) -> None:
    """Whichever program made it: its end is not cut to whole cylinders."""
    image = tmp_path / "image"
    make_from(disk, "-O", "vpc", "-o", f"subformat={subformat},force_size=on", image)
    image.write_bytes(created_by(creator, image.read_bytes()))

    await convert(converter, image, "vhd", tmp_path / "target", "raw")

    assert filecmp.cmp(tmp_path / "target", disk, shallow=False)


def created_by(creator: bytes, data: bytes) -> bytes:
    """The same VHD, of a program that writes down cylinders, in its footer and the copy of that."""
    places = {len(data) - 512, *([0] if data.startswith(b"conectix") else [])}
    for at in places:
        footer = bytearray(data[at : at + 512])
        footer[28:32] = creator
        footer[56:60] = (722).to_bytes(2, "big") + bytes((4, 17))  # a little less than 24 MiB
        footer[64:68] = bytes(4)
        footer[64:68] = (~sum(footer) & 0xFFFFFFFF).to_bytes(4, "big")
        data = data[:at] + footer + data[at + 512 :]
    return data


async def test_a_folder_with_a_comma(converter: QemuImg, disk: Path, tmp_path: Path) -> None:
    """An operator may name his folders as he likes."""
    folder = tmp_path / "a,b=c"
    folder.mkdir()
    shutil.copy(disk, folder / "source")

    await convert(converter, folder / "source", "raw", folder / "target", "raw")

    assert filecmp.cmp(folder / "target", disk, shallow=False)


async def test_processor_time_ends(disk: Path, tmp_path: Path) -> None:
    """The limit is said."""
    converter = QemuImg(configured(QemuImgSettings, cpu_time=timedelta(0)))

    with pytest.raises(ConversionFailed, match="limits"):
        await convert(converter, disk, "raw", tmp_path / "target", "qcow2")


async def test_time_ends(disk: Path, tmp_path: Path) -> None:
    """Nothing of it is left running."""
    before = children()
    converter = QemuImg(configured(QemuImgSettings, time=timedelta(microseconds=1)))

    with pytest.raises(ConversionFailed, match="longer than"):
        await convert(converter, disk, "raw", tmp_path / "target", "qcow2")

    assert children() <= before


async def test_a_conversion_that_is_cancelled(
    converter: QemuImg, disk: Path, tmp_path: Path
) -> None:
    """When this returns, no process writes to the target any more."""
    before = children()
    work = asyncio.create_task(
        convert(converter, disk, "raw", tmp_path / "target", "vmdk"), name="conversion"
    )
    while children() <= before:  # noqa: ASYNC110 - of the kernel
        await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert children() <= before


def children() -> set[str]:
    """The processes that this one has, also zombies."""
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return set(text.split())


async def test_it_opens_its_source_and_its_target_only(
    converter: QemuImg, disk: Path, tmp_path: Path
) -> None:
    """Traced: beyond these two there are programs, libraries, devices and what is refused."""
    target, trace = empty(tmp_path / "target"), tmp_path / "trace"
    command = ("/usr/bin/qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(disk), str(target))
    confinement = replace(converter._sandbox_settings(command, disk, (target,)), parent=0).to_json()
    wanted = "trace=execve,open,openat,openat2,connect,bind"
    watch = ["strace", "-f", "-qq", "-o", str(trace), "-e", wanted]
    program = [sys.executable, "-I", "-m", "imaged.conversion.sandbox", confinement]

    subprocess.run([*watch, *program], check=True)  # noqa: ASYNC221 - nothing else runs

    calls = trace.read_text().splitlines()
    begin = next(n for n, call in enumerate(calls) if f'execve("{command[0]}"' in call)
    opened = {
        match[1]
        for call in calls[begin + 1 :]
        if " = -1 " not in call and (match := re.search(r'"([^"]+)"', call))
    }
    own = ("/usr/", "/lib/", "/lib64/", "/dev/", "/etc/ld.so")
    assert {path for path in opened if not path.startswith(own)} == {str(disk), str(target)}
    assert not any("connect(" in call or "bind(" in call for call in calls)


async def test_a_disk_that_hangs_is_left(converter: QemuImg, tmp_path: Path) -> None:
    """A conversion that is cancelled ends, also while its source cannot be read."""

    async def convert_for_a_moment() -> bool:
        with anyio.move_on_after(0.2) as patience:
            await convert(converter, tmp_path / "image", "vdi", tmp_path / "target", "raw")
        return patience.cancelled_caught

    os.mkfifo(tmp_path / "image")  # without a writer
    converting = asyncio.create_task(convert_for_a_moment())
    try:
        await asyncio.wait({converting}, timeout=10)
        assert converting.done()
    finally:
        os.close(os.open(tmp_path / "image", os.O_RDWR))
        assert await converting
