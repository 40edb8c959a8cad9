"""The inspector on hand-made disk images: its findings, and its robustness."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imaged.core.disk_format import Findings, Flaw, Lookalike
from imaged.core.limits import KIB, MIB
from imaged.inspectors import headers
from imaged.inspectors.oslo_inspector import BLOCK_BYTES, OsloInspector
from imaged.ports.disk_image import InspectorFactory
from support import disk_images as disks
from support.disk_images import DISK_BYTES

FACTORY: InspectorFactory = OsloInspector

FLAT = disks.vmdk_descriptor()

SAFE = {
    "raw": (disks.raw(), "raw", disks.SMALL_BYTES),
    "raw, smaller than a sector": (b"0123456789", "raw", 10),
    "raw, a text": (("x" * 600 + "ü").encode(), "raw", 602),
    "raw, a file system": (disks.fat(), "raw", disks.SMALL_BYTES),
    "raw with an MBR": (disks.mbr(), "gpt", MIB),
    "raw with a GPT": (disks.gpt(), "gpt", MIB),
    "raw with an MBR, larger than a block": (disks.mbr(bytes(3 * MIB)), "gpt", 3 * MIB),
    "qcow2 of version 2": (disks.qcow2(version=2), "qcow2", DISK_BYTES),
    "qcow2 of version 3": (disks.qcow2(), "qcow2", DISK_BYTES),
    "vhd": (disks.vhd(), "vhd", DISK_BYTES),
    "vhdx": (disks.vhdx(), "vhdx", DISK_BYTES),
    "vhdx, its tables in the second mebibyte": (
        disks.vhdx(metadata_offset=MIB),
        "vhdx",
        DISK_BYTES,
    ),
    "vmdk": (disks.vmdk(), "vmdk", DISK_BYTES),
    "vmdk to be written in one go": (disks.stream_optimized_vmdk(), "vmdk", DISK_BYTES),
    "vdi": (disks.vdi(), "vdi", DISK_BYTES),
    "iso": (disks.iso(), "iso", 200 * 2048),
    "iso, also for a stick": (disks.hybrid_iso(), "gpt+iso", 200 * 2048),
    "iso, also with udf": (disks.udf(disc=disks.iso()), "iso", 200 * 2048),
    "luks": (disks.luks(), "luks", disks.SMALL_BYTES),
    "luks of version 2": (disks.luks(version=2), "luks", disks.SMALL_BYTES),
    "luks, cut": (disks.luks()[:100], "luks", 100),
    "raw, a file system that looks partitioned": (disks.ntfs(), "gpt", disks.SMALL_BYTES),
    "a kernel": (disks.kernel(), "gpt", disks.SMALL_BYTES),
    "qcow2 with extended L2 entries": (disks.qcow2(incompatible=1 << 4), "qcow2", DISK_BYTES),
    "qcow2 with all that is known": (disks.qcow2(incompatible=0b11011), "qcow2", DISK_BYTES),
    "vhd, fixed": (disks.fixed_vhd(disks.raw()), "vhd", disks.SMALL_BYTES),
    "vhd, fixed, with partitions": (disks.fixed_vhd(disks.mbr()), "vhd", MIB),
    "vhd, fixed, encrypted": (disks.fixed_vhd(disks.luks()), "vhd", disks.SMALL_BYTES),
    "vhd, fixed, larger than a block": (disks.fixed_vhd(bytes(3 * MIB)), "vhd", 3 * MIB),
    "raw, its end almost a footer": (disks.fixed_vhd(bytes(MIB))[:-1] + b"x", "raw", MIB + 512),
    "vdi, static": (disks.vdi(kind=2), "vdi", DISK_BYTES),
    "vmdk, beyond ASCII": (disks.vmdk(extent="größe.vmdk"), "vmdk", DISK_BYTES),
    "vmdk, a comment beyond ASCII": (disks.vmdk(more="# größe\n"), "vmdk", DISK_BYTES),
    "vmdk in one go, beyond ASCII": (
        disks.stream_optimized_vmdk(more="# größe\n"),
        "vmdk",
        DISK_BYTES,
    ),
    "udf": (disks.udf(), "udf", MIB),
    "udf in large blocks": (disks.udf(4096, (b"BEA01", b"NSR03", b"TEA01")), "udf", MIB),
    "udf with partitions": (disks.mbr(disks.udf()), "gpt+udf", MIB),
    "raw, a sequence without udf": (disks.udf(marks=(b"BEA01", b"TEA01")), "raw", MIB),
    "raw, udf too late": (disks.udf(marks=(b"-----", b"NSR02")), "raw", MIB),
}

#: By the format and the flaw that are found.
UNSAFE = {
    ("qcow2", Flaw.BACKING_FILE): {
        "a backing file": disks.qcow2(backing_file=b"/etc/hosts"),
        "a backing file, in version 2": disks.qcow2(version=2, backing_file=b"/etc/hosts"),
        "a backing file, in a file shorter than a sector": disks.qcow2(backing_file=b"/etc/hosts")[
            :150
        ],
    },
    ("qcow2", Flaw.DATA_FILE): {"an external data file": disks.qcow2(incompatible=1 << 2)},
    ("vmdk", Flaw.PARENT): {
        "a parent, vmdk by its id": disks.vmdk(parent_id="12345678"),
        "a parent, vmdk by its name": disks.vmdk(more='parentFileNameHint="base.vmdk"\n'),
        "a parent, vmdk by its name in a comment": disks.vmdk(
            more='# PARENTFILENAMEHINT="base.vmdk"\n'
        ),
        "a parent, vmdk in one go": disks.stream_optimized_vmdk(parent_id="12345678"),
    },
    ("vhd", Flaw.PARENT): {
        "a parent, vhd": disks.vhd(kind=4),
        "a parent, vhd without its beginning": disks.fixed_vhd(disks.raw(), kind=4),
    },
    ("vhdx", Flaw.PARENT): {
        "a parent, vhdx by its flag": disks.vhdx(flags=0b10),
        "a parent, vhdx by its locator": disks.vhdx(parent_locator=True),
        "a parent, vhdx far behind": disks.vhdx(flags=0b10, metadata_offset=MIB),
    },
    ("vdi", Flaw.PARENT): {
        "a parent, vdi by its kind": disks.vdi(kind=4),
        "a parent, vdi by its id": disks.vdi(parent=bytes(15) + b"1"),
        "an undo log, vdi": disks.vdi(kind=3),
    },
    ("vdi", Flaw.UNKNOWN_FEATURES): {"vdi of another version": disks.vdi(version=1)},
    ("vhd", Flaw.UNREADABLE): {
        "vhd, fixed, without its beginning": disks.fixed_vhd(disks.raw())[512:],
        "vhd, dynamic, without its beginning": disks.fixed_vhd(disks.raw(), kind=3),
        "vhd that is fixed and dynamic": disks.vhd(kind=2),
    },
    ("vhd", Flaw.FOOTER): {
        "vhd with a footer of another kind": disks.vhd(footer_kind=2),
        "vhd with a footer of another size": disks.vhd(footer_bytes=2 * DISK_BYTES),
    },
    ("vhdx", Flaw.UNFINISHED): {"vhdx with a log": disks.vhdx(log=b"1" * 16)},
    ("vmdk", Flaw.DESCRIPTOR): {
        "vmdk without a size": disks.vmdk(0),
        "vmdk, flat, beyond ASCII": "# größe\n".encode() + FLAT,
        "vmdk, a descriptor of one file": disks.vmdk_descriptor("monolithicSparse", "other.vmdk"),
        "vmdk, flat": FLAT,
        "vmdk, flat, behind comments": b"# hello\n" * 80_000 + FLAT,
        "vmdk, flat in pieces": disks.vmdk_descriptor("twoGbMaxExtentFlat"),
        "vmdk, a flat one in disguise": disks.vmdk(create_type="monolithicFlat"),
        "vmdk, a path in its extent": disks.vmdk(extent="/etc/hosts"),
    },
    ("qcow2", Flaw.UNKNOWN_FEATURES): {
        "a feature of the future": disks.qcow2(incompatible=1 << 63),
        "qcow of version 1": disks.qcow1(),
        "qcow2 of version 4": disks.qcow2(version=4),
    },
    ("qed", Flaw.BANNED): {"qed": disks.qed()},
    ("qcow2", Flaw.TOO_LARGE): {"a disk of 60,000 TiB": disks.qcow2(disk_bytes=60_000 << 40)},
    ("vhdx", Flaw.TOO_LARGE): {"the largest vhdx": disks.vhdx(disk_bytes=2**64 - 1)},
    ("vmdk", Flaw.FOOTER): {
        "vmdk, a footer of its own": disks.stream_optimized_vmdk(footer_version=1)
    },
    ("vmdk", Flaw.UNREADABLE): {
        "vmdk of version 9": disks.vmdk(version=9),
        "vmdk, its descriptor elsewhere": disks.vmdk(descriptor_sector=7),
        "vmdk, cut": disks.vmdk()[:4096],
    },
    ("vhdx", Flaw.UNREADABLE): {
        "vhdx, its tables far away": disks.vhdx(metadata_offset=1 << 50),
        "vhdx, cut": disks.vhdx()[:MIB],
        "vhdx, nothing but its name": b"vhdxfile".ljust(MIB, b"\0"),
        "vhdx, a size of five bytes": disks.vhdx(size_length=5),
    },
}

UNSAFE_IMAGES = [
    pytest.param(image, *found, id=name)
    for found, images in UNSAFE.items()
    for name, image in images.items()
]

EVERYTHING = [
    *(image for image, *_ in SAFE.values()),
    *(image for images in UNSAFE.values() for image in images.values()),
]


def inspect(*chunks: bytes) -> Findings:
    """The findings in a stream of these chunks."""
    inspector = FACTORY()
    for chunk in chunks:
        inspector.feed(chunk)
    return inspector.findings()


def inspect_cut(image: bytes, *cuts: int) -> Findings:
    """The findings in an image that is cut at these places."""
    places = sorted({0, len(image), *(cut % (len(image) + 1) for cut in cuts)})
    return inspect(*(image[start:end] for start, end in pairwise(places)))


@pytest.mark.parametrize(("image", "formats", "size_bytes"), SAFE.values(), ids=SAFE)
def test_safe_images(image: bytes, formats: str, size_bytes: int) -> None:
    """Formats and the size of the disk inside are found, and no flaw."""
    assert inspect(image) == Findings(frozenset(formats.split("+")), size_bytes)


@pytest.mark.parametrize(("image", "name", "flaw"), UNSAFE_IMAGES)
def test_unsafe_images(image: bytes, name: str, flaw: Flaw) -> None:
    """The format is found, and its flaw."""
    findings = inspect(image)

    assert findings.formats == {name}
    assert findings.flaws == (flaw,)


def test_everything_that_is_wrong_is_said_once() -> None:
    """Several features, each named."""
    image = disks.qcow2(backing_file=b"x", incompatible=1 << 2 | 1 << 5, disk_bytes=1 << 60)

    assert inspect(image).flaws == (
        Flaw.BACKING_FILE,
        Flaw.DATA_FILE,
        Flaw.UNKNOWN_FEATURES,
        Flaw.TOO_LARGE,
    )


def test_no_bytes_at_all_are_raw() -> None:
    """An empty stream has no known format, and its disk no known size."""
    assert inspect() == inspect(b"") == Findings(frozenset({"raw"}), None)


def packed_as_tar() -> bytes:
    """A file in a tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("disk.vmdk"))
    return file.getvalue()


def packed_as_zip() -> bytes:
    """A file in a zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("disk.raw", disks.raw())
    return file.getvalue()


LOOKALIKES = {
    "gzip": (gzip.compress(disks.raw()), Lookalike.GZIP),
    "xz": (lzma.compress(disks.raw()), Lookalike.XZ),
    "zstd": (b"\x28\xb5\x2f\xfd" + disks.raw(), Lookalike.ZSTD),
    "bzip2": (bz2.compress(disks.raw()), Lookalike.BZIP2),
    "lz4": (b"\x04\x22\x4d\x18" + disks.raw(), Lookalike.LZ4),
    "zip": (packed_as_zip(), Lookalike.ZIP),
    "7z": (b"7z\xbc\xaf\x27\x1c" + disks.raw(), Lookalike.SEVEN_ZIP),
    "tar": (packed_as_tar(), Lookalike.TAR),
    "a page": (b"\r\n<!DOCTYPE html>\n<html>", Lookalike.HTML),
    "an old page": (b"\xef\xbb\xbf<HTML><title>403", Lookalike.HTML),
    "a text": (b"html", None),
    "a script": (b"#!/bin/sh\n", None),
    "a disk": (disks.raw(), None),
    "a disk with partitions": (disks.mbr(gzip.compress(disks.raw())), None),
    "a disk in a format": (disks.qcow2(), None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize(("image", "lookalike"), LOOKALIKES.values(), ids=LOOKALIKES)
def test_data_that_is_no_disk(image: bytes, lookalike: Lookalike | None) -> None:
    """Files that are often sent in place of a disk are recognised, however they are cut."""
    assert inspect(image).lookalike is lookalike
    assert inspect_cut(image, 1, 3, 260).lookalike is lookalike


@pytest.mark.parametrize(
    ("size_bytes", "flaws"), [(DISK_BYTES, ()), (DISK_BYTES + 512, (Flaw.TOO_LARGE,))]
)
def test_the_largest_disk_is_a_setting(size_bytes: int, flaws: tuple[Flaw, ...]) -> None:
    """Up to that size and not a sector more."""
    inspector = OsloInspector(max_virtual_size_bytes=DISK_BYTES)
    inspector.feed(disks.vdi(size_bytes))

    assert inspector.findings() == Findings(
        frozenset({"vdi"}), None if flaws else size_bytes, flaws
    )


def test_a_format_hidden_in_another_is_seen() -> None:
    """A qcow2 with a partition table is both, and the size of its disk is unknown."""
    findings = inspect(disks.mbr(disks.qcow2()))

    assert findings == Findings(frozenset({"gpt", "qcow2"}), None)


def test_a_hybrid_iso_is_as_large_as_it_says() -> None:
    """Bytes behind its last block do not belong to it."""
    assert inspect(disks.hybrid_iso(), bytes(MIB)).virtual_size_bytes == 200 * 2048


@pytest.mark.parametrize(
    "table",
    [
        [disks.partition(kind=0)],
        [disks.partition(boot=0x12)],
        [disks.partition(kind=0xEE, boot=0, first=1), disks.partition()],
    ],
)
def test_an_odd_partition_table_is_not_unsafe(table: list[bytes]) -> None:
    """Empty, invalid or hybrid: it only concerns machines that boot from the disk."""
    assert inspect(disks.mbr(partitions=table)) == Findings(frozenset({"gpt"}), MIB)


@pytest.mark.parametrize("image", EVERYTHING)
def test_the_size_of_chunks_does_not_matter(image: bytes) -> None:
    """In one piece, in blocks, in odd pieces, in single bytes: the findings are the same."""
    smallest = 1 if len(image) <= disks.SMALL_BYTES + 2048 else 4099

    for chunk_bytes in (256 * KIB, smallest):
        assert inspect_cut(image, *range(0, len(image), chunk_bytes)) == inspect(image)


@given(st.sampled_from(EVERYTHING), st.lists(st.integers(0, 4 * MIB), max_size=20))
@settings(max_examples=200, deadline=None)
def test_where_a_stream_is_cut_does_not_matter(image: bytes, cuts: list[int]) -> None:
    """Any cuts give the same findings."""
    assert inspect_cut(image, *cuts) == inspect(image)


MUTATIONS = st.lists(
    st.tuples(
        st.one_of(
            st.integers(0, 1024),
            st.integers(32 * KIB, 34 * KIB),
            st.integers(192 * KIB, 193 * KIB),
            st.integers(2 * MIB, 2 * MIB + KIB),
        ),
        st.binary(min_size=1, max_size=16),
    ),
    max_size=6,
)


@given(st.sampled_from(EVERYTHING), MUTATIONS, st.none() | st.integers(0, 3 * MIB))
@settings(max_examples=500, deadline=None)
def test_no_bytes_upset_it(
    image: bytes, mutations: list[tuple[int, bytes]], length: int | None
) -> None:
    """Whatever is overwritten or cut off, the findings can be stored."""
    mutated = bytearray(image)
    for at, replacement in mutations:
        mutated[at : at + len(replacement)] = replacement
    findings = inspect(bytes(mutated[:length]))

    assert findings.formats
    assert findings.virtual_size_bytes is None or 0 < findings.virtual_size_bytes < 2**63


@given(st.binary(max_size=2048))
@example(b"KDMV")
@example(b"vhdxfile")
@example(b"LUKS\xba\xbe")
@example(b'# Disk DescriptorFile\ncreateType="')
def test_no_beginning_upsets_it(beginning: bytes) -> None:
    """The same for nearly random bytes."""
    inspect(beginning)


@pytest.mark.parametrize("chunk_bytes", [80, 256 * KIB, 8 * MIB])
def test_memory_is_bounded(chunk_bytes: int) -> None:
    """Also for a stream that is inspected to its end, in chunks however small or large."""
    head = disks.stream_optimized_vmdk()
    stream = head + random.Random(1).randbytes(8 * MIB - len(head))
    chunk = stream[:chunk_bytes]
    tracemalloc.start()
    try:
        inspector = FACTORY()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(8 * MIB // chunk_bytes):
            inspector.feed(chunk)
        inspector.findings()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak - before < 6 * BLOCK_BYTES


def test_a_stream_that_is_known_is_only_counted() -> None:
    """After its first block a raw stream is not kept, and its size is still right."""
    inspector = OsloInspector()
    for _ in range(5):
        inspector.feed(bytes(MIB))

    inspector.feed(b"the end")

    assert not inspector._looking
    assert not inspector._block
    assert inspector.findings() == Findings(frozenset({"raw"}), 5 * MIB + 7)


def test_its_library_quotes_no_bytes(caplog: pytest.LogCaptureFixture) -> None:
    """Findings have imaged's own words, and log lines have no bytes of clients."""
    for image in EVERYTHING:
        inspect(image)

    assert not caplog.records


def test_the_library_is_loaded_only_for_its_driver() -> None:
    """Services and the command line start without it."""
    program = (
        "import sys, imaged.inspectors, imaged.ports.disk_image, imaged.services.ingest\n"
        "sys.exit('oslo_utils' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("byte", range(128))
def test_a_character_that_ends_a_text_for_oslo_marks_binary_data(byte: int) -> None:
    """Oslo takes a head for text where each character is printable or white space."""
    head = b"# disk \xc3\xb6 " + bytes([byte]) + b"\n"
    for_oslo = chr(byte).isprintable() or chr(byte).isspace()
    assert headers.with_ascii_descriptor(head).isascii() == for_oslo
