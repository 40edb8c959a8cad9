"""The inspector against disk images made by hand: what it finds, and that nothing upsets it."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imaged.core.disk_format import Findings
from imaged.inspectors.oslo import BLOCK_BYTES, OsloInspector
from imaged.ports.inspector import InspectorFactory
from support import disk_images as disks
from support.disk_images import DISK, KIB, MIB

FACTORY: InspectorFactory = OsloInspector

BACKING = "a backing file"
DATA_FILE = "an external data file"
UNKNOWN = "a version or features that are not known to be safe"
DESCRIPTOR = "a descriptor that names other files or cannot be understood"
FOOTER = "a footer that contradicts the header"
BANNED = "a format that is never allowed"
VERSION = "a version that is not supported"
DAMAGED = "headers that are damaged or incomplete"
HUGE = "a virtual size that no disk can have"

FLAT = disks.vmdk_descriptor()

SAFE = {
    "raw": (disks.raw(), "raw", disks.SMALL),
    "raw, smaller than a sector": (b"0123456789", "raw", 10),
    "raw, a text": (("x" * 600 + "ü").encode(), "raw", 602),
    "raw, a file system": (disks.fat(), "raw", disks.SMALL),
    "raw with an MBR": (disks.mbr(), "gpt", MIB),
    "raw with a GPT": (disks.gpt(), "gpt", MIB),
    "raw with an MBR, larger than a block": (disks.mbr(bytes(3 * MIB)), "gpt", 3 * MIB),
    "qcow2 of version 2": (disks.qcow2(version=2), "qcow2", DISK),
    "qcow2 of version 3": (disks.qcow2(), "qcow2", DISK),
    "vhd": (disks.vhd(), "vhd", DISK),
    "vhdx": (disks.vhdx(), "vhdx", DISK),
    "vhdx, its tables in the second mebibyte": (disks.vhdx(metadata_offset=MIB), "vhdx", DISK),
    "vmdk": (disks.vmdk(), "vmdk", DISK),
    "vmdk to be written in one go": (disks.stream_optimized_vmdk(), "vmdk", DISK),
    "vdi": (disks.vdi(), "vdi", DISK),
    "iso": (disks.iso(), "iso", 200 * 2048),
    "iso, also for a stick": (disks.hybrid_iso(), "gpt+iso", 200 * 2048),
    "luks": (disks.luks(), "luks", disks.SMALL - 8 * 512),
}

UNSAFE = {
    "a backing file": (disks.qcow2(backing_file=b"/etc/hosts"), "qcow2", BACKING),
    "a backing file, in version 2": (
        disks.qcow2(version=2, backing_file=b"/etc/hosts"),
        "qcow2",
        BACKING,
    ),
    "a backing file, in a file shorter than a sector": (
        disks.qcow2(backing_file=b"/etc/hosts")[:150],
        "qcow2",
        BACKING,
    ),
    "an external data file": (disks.qcow2(incompatible=1 << 2), "qcow2", DATA_FILE),
    "extended L2 entries": (disks.qcow2(incompatible=1 << 4), "qcow2", UNKNOWN),
    "a feature of the future": (disks.qcow2(incompatible=1 << 63), "qcow2", UNKNOWN),
    "qcow of version 1": (disks.qcow1(), "qcow2", UNKNOWN),
    "qcow2 of version 4": (disks.qcow2(version=4), "qcow2", UNKNOWN),
    "qed": (disks.qed(), "qed", BANNED),
    "a disk of 60,000 TiB": (disks.qcow2(disk_bytes=60_000 << 40), "qcow2", HUGE),
    "the largest vhdx": (disks.vhdx(disk_bytes=2**64 - 1), "vhdx", HUGE),
    "vmdk, flat": (FLAT, "vmdk", DESCRIPTOR),
    "vmdk, flat, behind comments": (b"# hello\n" * 80_000 + FLAT, "vmdk", DESCRIPTOR),
    "vmdk, flat in pieces": (disks.vmdk_descriptor("twoGbMaxExtentFlat"), "vmdk", DESCRIPTOR),
    "vmdk, a flat one in disguise": (disks.vmdk(create_type="monolithicFlat"), "vmdk", DESCRIPTOR),
    "vmdk, a path in its extent": (disks.vmdk(extent="/etc/hosts"), "vmdk", DESCRIPTOR),
    "vmdk, a footer of its own": (
        disks.stream_optimized_vmdk(footer_version=1),
        "vmdk",
        FOOTER,
    ),
    "vmdk of version 9": (disks.vmdk(version=9), "vmdk", DAMAGED),
    "vmdk, its descriptor elsewhere": (disks.vmdk(descriptor_sector=7), "vmdk", DAMAGED),
    "vmdk, cut": (disks.vmdk()[:4096], "vmdk", DAMAGED),
    "vhdx, its tables far away": (disks.vhdx(metadata_offset=1 << 50), "vhdx", DAMAGED),
    "vhdx, cut": (disks.vhdx()[:MIB], "vhdx", DAMAGED),
    "vhdx, nothing but its name": (b"vhdxfile".ljust(MIB, b"\0"), "vhdx", DAMAGED),
    "vhdx, a size of five bytes": (disks.vhdx(size_length=5), "vhdx", DAMAGED),
    "luks, cut": (disks.luks()[:100], "luks", DAMAGED),
    "luks of version 2": (disks.luks(version=2), "luks", VERSION),
}

EVERYTHING = [image for image, *_ in (*SAFE.values(), *UNSAFE.values())]


def inspect(*chunks: bytes) -> Findings:
    """What is found in a stream that comes in these chunks."""
    inspector = FACTORY()
    for chunk in chunks:
        inspector.feed(chunk)
    return inspector.findings()


def inspect_cut(image: bytes, *cuts: int) -> Findings:
    """What is found in an image that is cut at these places."""
    places = sorted({0, len(image), *(cut % (len(image) + 1) for cut in cuts)})
    return inspect(*(image[start:end] for start, end in pairwise(places)))


@pytest.mark.parametrize(("image", "formats", "size_bytes"), SAFE.values(), ids=SAFE)
def test_safe_images(image: bytes, formats: str, size_bytes: int) -> None:
    """Formats and the size of the disk inside are found, and nothing is held against them."""
    assert inspect(image) == Findings(frozenset(formats.split("+")), size_bytes)


@pytest.mark.parametrize(("image", "name", "phrase"), UNSAFE.values(), ids=UNSAFE)
def test_unsafe_images(image: bytes, name: str, phrase: str) -> None:
    """The format is found, and what is wrong with it is said in a few words."""
    findings = inspect(image)

    assert findings.formats == {name}
    assert findings.unsafe == (phrase,)


def test_everything_that_is_wrong_is_said_once() -> None:
    """Several features, each named."""
    image = disks.qcow2(backing_file=b"x", incompatible=1 << 2 | 1 << 4, disk_bytes=1 << 60)

    assert inspect(image).unsafe == (BACKING, DATA_FILE, UNKNOWN, HUGE)


def test_no_bytes_at_all_are_raw() -> None:
    """An empty stream is of no known format, and no size is known of its disk."""
    assert inspect() == inspect(b"") == Findings(frozenset({"raw"}), None)


def test_an_absurd_size_is_not_passed_on() -> None:
    """A number that no column holds goes no further."""
    assert inspect(disks.vhdx(disk_bytes=2**64 - 1)).virtual_size_bytes is None


@pytest.mark.parametrize(("size_bytes", "unsafe"), [(DISK, ()), (DISK + 512, (HUGE,))])
def test_the_largest_disk_is_a_setting(size_bytes: int, unsafe: tuple[str, ...]) -> None:
    """Up to that size and not a sector more."""
    inspector = OsloInspector(max_virtual_size_bytes=DISK)
    inspector.feed(disks.vdi(size_bytes))

    assert inspector.findings().unsafe == unsafe


def test_a_format_hidden_in_another_is_seen() -> None:
    """A qcow2 with a partition table is both, and nobody knows how large its disk is."""
    findings = inspect(disks.mbr(disks.qcow2()))

    assert findings == Findings(frozenset({"gpt", "qcow2"}), None)


def test_a_hybrid_iso_is_as_large_as_it_says() -> None:
    """What follows its last block is no part of it."""
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
    """Empty, wild or hybrid: it concerns who boots from the disk, and no reader of the image."""
    assert inspect(disks.mbr(partitions=table)) == Findings(frozenset({"gpt"}), MIB)


@pytest.mark.parametrize("image", EVERYTHING)
def test_the_size_of_chunks_does_not_matter(image: bytes) -> None:
    """In one piece, in blocks, in odd pieces: the same is found."""
    whole = inspect(image)

    assert inspect_cut(image, *range(0, len(image), 256 * KIB)) == whole
    assert inspect_cut(image, *range(0, len(image), 4099)) == whole


@pytest.mark.parametrize("image", [i for i in EVERYTHING if len(i) <= disks.SMALL + 2048])
def test_byte_by_byte(image: bytes) -> None:
    """A stream may come in single bytes."""
    assert inspect(*(image[at : at + 1] for at in range(len(image)))) == inspect(image)


@given(st.sampled_from(EVERYTHING), st.lists(st.integers(0, 4 * MIB), max_size=20))
@settings(max_examples=200, deadline=None)
def test_where_a_stream_is_cut_does_not_matter(image: bytes, cuts: list[int]) -> None:
    """Any cuts: the same is found."""
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
    """Whatever is overwritten or cut off, there are findings that the catalog can keep."""
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
    """The same for bytes that are hardly anything."""
    inspect(beginning)


@pytest.mark.parametrize("chunk_bytes", [3, 256 * KIB, 8 * MIB])
def test_memory_is_bounded(chunk_bytes: int) -> None:
    """Also of a stream that is looked at to its end, in chunks however small or large."""
    head = disks.stream_optimized_vmdk()
    stream = head + random.Random(1).randbytes(8 * MIB - len(head))
    chunk = stream[:chunk_bytes]
    tracemalloc.start()
    try:
        inspector = FACTORY()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(min(8 * MIB // chunk_bytes, 500_000)):
            inspector.feed(chunk)
        inspector.findings()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak - before < 6 * BLOCK_BYTES


def test_a_stream_that_is_known_is_only_counted() -> None:
    """After its first block a raw stream is kept nowhere, and its size is still right."""
    inspector = OsloInspector()
    for _ in range(5):
        inspector.feed(bytes(MIB))

    inspector.feed(b"the end")

    assert not inspector._looking
    assert not inspector._block
    assert inspector.findings() == Findings(frozenset({"raw"}), 5 * MIB + 7)


def test_its_library_quotes_no_bytes(caplog: pytest.LogCaptureFixture) -> None:
    """What clients send gets into findings as our own words, and into no log line."""
    for image in EVERYTHING:
        inspect(image)

    assert not caplog.records


def test_the_library_is_loaded_only_for_its_driver() -> None:
    """Services and the command line start without it."""
    program = (
        "import sys, imaged.inspectors, imaged.ports.inspector, imaged.services.uploads\n"
        "sys.exit('oslo_utils' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
