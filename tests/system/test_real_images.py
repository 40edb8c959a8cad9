"""The inspector against images that QEMU, sfdisk, sgdisk and Debian's GRUB made."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from imaged.core.disk_format import Findings, FormatPolicy, require_declared
from imaged.core.errors import FormatRefused
from imaged.inspectors.oslo_inspector import OsloInspector
from support.settings import configured

pytestmark = pytest.mark.system

DISK = 20 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
RESCUE_ISO = Path("/usr/lib/grub-rescue/grub-rescue-cdrom.iso")

#: What to declare, and what to ask of qemu-img.
ACCEPTED = {
    "qcow2": ("qcow2", ["-f", "qcow2"]),
    "qcow2 of version 2": ("qcow2", ["-f", "qcow2", "-o", "compat=0.10"]),
    "qcow2 with zstd": ("qcow2", ["-f", "qcow2", "-o", "compression_type=zstd"]),
    "vmdk": ("vmdk", ["-f", "vmdk", "-o", "subformat=monolithicSparse"]),
    "vmdk in one go": ("vmdk", ["-f", "vmdk", "-o", "subformat=streamOptimized"]),
    "vdi": ("vdi", ["-f", "vdi"]),
    "vhd": ("vhd", ["-f", "vpc", "-o", "subformat=dynamic,force_size=on"]),
    "vhd, fixed": ("vhd", ["-f", "vpc", "-o", "subformat=fixed,force_size=on"]),
    "qcow2 with extended L2": ("qcow2", ["-f", "qcow2", "-o", "extended_l2=on"]),
    "vhdx": ("vhdx", ["-f", "vhdx"]),
    "vhdx, all allocated": ("vhdx", ["-f", "vhdx", "-o", "subformat=fixed"]),
    "raw": ("raw", ["-f", "raw"]),
}
REFUSED = {
    "vmdk, flat": ("vmdk", ["-f", "vmdk", "-o", "subformat=monolithicFlat"], "a descriptor"),
    "vmdk, flat pieces": ("vmdk", ["-f", "vmdk", "-o", "subformat=twoGbMaxExtentFlat"], "a desc"),
    "vmdk, pieces": ("vmdk", ["-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"], "a desc"),
    "qcow": ("qcow2", ["-f", "qcow"], "a version"),
    "qed": ("raw", ["-f", "qed"], "data is qed"),
    "parallels": ("qcow2", ["-f", "parallels"], "data is raw"),
    "vhd, fixed": ("raw", ["-f", "vpc", "-o", "subformat=fixed"], "'disk_format' to vhd"),
    "qcow2, backing file": (
        "qcow2",
        ["-f", "qcow2", "-b", "{folder}/base", "-F", "vmdk"],
        "a backing file",
    ),
    "qcow2, data file": ("qcow2", ["-f", "qcow2", "-o", "data_file={folder}/data"], "an external"),
    "vmdk, parent": ("vmdk", ["-f", "vmdk", "-b", "{folder}/base", "-F", "vmdk"], "a parent disk"),
}


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs that make the images, also those that Debian puts on root's path only."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
    for program, package in (
        ("qemu-img", "qemu-utils"),
        ("sfdisk", "fdisk"),
        ("sgdisk", "gdisk"),
        ("mkudffs", "udftools"),
        ("mkfs.vfat", "dosfstools"),
        ("mkfs.ntfs", "ntfs-3g"),
        ("cryptsetup", "cryptsetup-bin"),
    ):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: install the Debian package {package}.")
    if not RESCUE_ISO.exists():
        pytest.fail(f"{RESCUE_ISO} is missing: install the Debian package grub-rescue-pc.")


def run(*command: str | Path, told: str = "") -> None:
    """Run a program that must succeed."""
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def create(path: Path, arguments: Sequence[str], size: str = str(DISK)) -> Path:
    """Have QEMU make an image."""
    run("qemu-img", "create", "-q", *arguments, path, size)
    return path


def inspect(path: Path) -> Findings:
    """What is found in a file."""
    inspector = OsloInspector()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            inspector.feed(chunk)
    return inspector.findings()


def require(path: Path, declared: str) -> Findings:
    """What is found in a file that is accepted as what it was declared to be."""
    findings = inspect(path)
    require_declared(declared, findings, configured(FormatPolicy))
    return findings


@pytest.mark.parametrize(("declared", "arguments"), ACCEPTED.values(), ids=ACCEPTED)
def test_images_that_are_accepted(tmp_path: Path, declared: str, arguments: list[str]) -> None:
    """They are what they were declared to be, and the size of their disk is known."""
    findings = require(create(tmp_path / "image", arguments), declared)

    assert findings == Findings(frozenset({declared}), DISK)


@pytest.mark.parametrize(("declared", "arguments", "why"), REFUSED.values(), ids=REFUSED)
def test_images_that_are_refused(
    tmp_path: Path, declared: str, arguments: list[str], why: str
) -> None:
    """They depend on other files, or are of unknown formats."""
    create(tmp_path / "base", ["-f", "vmdk"])
    completed = [argument.format(folder=tmp_path) for argument in arguments]
    image = create(tmp_path / "image", completed)

    with pytest.raises(FormatRefused, match=why):
        require(image, declared)


def test_an_absurd_disk_is_refused(tmp_path: Path) -> None:
    """A file of seven megabytes that claims to hold 60,000 TiB."""
    image = create(tmp_path / "image", ["-f", "qcow2", "-o", "cluster_size=2M"], "60000T")

    with pytest.raises(FormatRefused, match="a virtual size"):
        require(image, "qcow2")


@pytest.mark.parametrize("version", ["luks1", "luks2"])
def test_encrypted_volumes(tmp_path: Path, version: str) -> None:
    """A raw disk, as Cinder uploads it."""
    image = create(tmp_path / "image", ["-f", "raw"])
    derivation = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    command = ["cryptsetup", "luksFormat", "-q", "--type", version]
    run(*command, *derivation, image, "-", told="a passphrase")

    assert require(image, "raw") == Findings(frozenset({"luks"}), DISK)


@pytest.mark.parametrize("block_bytes", ["512", "2048", "4096"])
def test_discs_with_udf(tmp_path: Path, block_bytes: str) -> None:
    """Without ISO 9660: a disc, and a raw disk with a file system."""
    image = create(tmp_path / "image", ["-f", "raw"])
    run("mkudffs", f"--blocksize={block_bytes}", image)

    assert require(image, "iso") == require(image, "raw") == Findings(frozenset({"udf"}), DISK)


@pytest.mark.parametrize(
    "command",
    [
        ["mkfs.vfat"],
        ["mkfs.vfat", "-f", "1", "-M", "0xF0"],
        ["mkfs.ntfs", "-F", "-q"],
    ],
)
@pytest.mark.parametrize("declared", ["raw", "ami"])
def test_file_systems_without_partitions(tmp_path: Path, command: list[str], declared: str) -> None:
    """Though some of their first sectors look like a partition table."""
    image = create(tmp_path / "image", ["-f", "raw"])
    run(*command, image)

    assert require(image, declared).virtual_size_bytes == DISK


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["sfdisk", "--quiet", "{}"], "label: dos\n,8M\n,\n"),
        (["sfdisk", "--quiet", "{}"], "label: gpt\n,8M\n,\n"),
        (["sgdisk", "-n", "1:0:0", "{}"], ""),
        (["sgdisk", "-n", "1:0:0", "-h", "1", "{}"], ""),  # with a hybrid MBR
    ],
)
def test_partition_tables(tmp_path: Path, command: list[str], told: str) -> None:
    """A raw disk with an MBR or a GPT is still a raw disk, of the size of the file."""
    image = create(tmp_path / "image", ["-f", "raw"])
    run(*[argument.format(image) for argument in command], told=told)

    assert require(image, "raw") == Findings(frozenset({"gpt"}), DISK)


def test_a_real_iso() -> None:
    """It boots from a stick too, so it is found as both, and accepted as an iso only."""
    findings = require(RESCUE_ISO, "iso")

    assert findings == Findings(frozenset({"iso", "gpt"}), RESCUE_ISO.stat().st_size)
    with pytest.raises(FormatRefused, match="gpt and iso"):
        require(RESCUE_ISO, "raw")


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vmdk in one go", "vdi", "vhd", "vhdx"])
def test_images_with_data(tmp_path: Path, kind: str) -> None:
    """A disk with a partition table and data, converted to each format."""
    declared, arguments = ACCEPTED[kind]
    disk = create(tmp_path / "disk", ["-f", "raw"])
    run("sfdisk", "--quiet", disk, told="label: dos\n,8M\n,\n")
    with disk.open("r+b") as file:
        file.seek(10 * 1024 * 1024)
        file.write(RESCUE_ISO.read_bytes())
    arguments = ["-O" if argument == "-f" else argument for argument in arguments]
    run("qemu-img", "convert", "-f", "raw", *arguments, disk, tmp_path / "image")

    assert require(tmp_path / "image", declared) == Findings(frozenset({declared}), DISK)
