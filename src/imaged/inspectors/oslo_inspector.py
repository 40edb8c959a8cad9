"""An inspector that combines those of oslo.utils with imaged's own readers of headers.

Strategy. All inspectors see the stream at once, and the findings are those of the ones that
recognise it. They depend on how a stream is cut: a descriptor is read from the chunk that it begins
in, and a table is not searched in the chunk that refers to it. So they get blocks of one mebibyte,
however the bytes arrive: one block covers all that is read at a stream's beginning, and a VHDX
aligns its tables to a mebibyte. Nearly always all inspectors are done after the first block, and
the rest of the stream is only counted.

No inspector is trusted to handle every byte sequence: one that raises gets no more data, and if it
had recognised its format before, the headers of the stream count as unreadable.

imaged's own readers (``headers``) cover what oslo does not: disks that name a parent, the footer of
a VHD, UDF, encryption, and the features of a qcow2.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from oslo_utils.imageutils import format_inspector as oslo

from imaged.core.disk_format import RAW, Findings, Flaw, Lookalike
from imaged.core.limits import MIB
from imaged.inspectors import headers
from imaged.inspectors.headers import SECTOR_BYTES, HeaderFindings, find_lookalike

BLOCK_BYTES = MIB
MAX_VIRTUAL_SIZE_BYTES = 1 << 50  # 1 PiB: more than a disk of any hypervisor

#: Formats whose disk counts as large as the stream.
STREAM_SIZED_FORMATS = frozenset({"gpt", "luks", "udf"})

#: Formats whose failures are ignored. The partition table concerns the machine that boots from the
#: disk, and encrypted data names no file: no reader opens another file because of it.
TRUSTED_FORMATS = frozenset({"gpt", "luks"})

#: Formats that the bare disk in a fixed VHD, whose signature is only at its end, may be recognised
#: as.
FIXED_VHD_CONTENTS = frozenset({"gpt", "luks", "udf"})

#: Checks of oslo's that are replaced here, with knowledge of later versions of the format.
IGNORED_CHECKS = frozenset({"unknown_features"})

#: The meaning of a failed safety check of oslo's.
FLAWS_BY_CHECK: Mapping[str, Flaw] = {
    "backing_file": Flaw.BACKING_FILE,
    "data_file": Flaw.DATA_FILE,
    "descriptor": Flaw.DESCRIPTOR,
    "footer": Flaw.FOOTER,
    "banned": Flaw.BANNED,
}

# ``findings`` reports the results once; oslo's log lines would quote the client's bytes.
logging.getLogger(oslo.__name__).setLevel(logging.CRITICAL + 1)


class OsloInspector:
    """Inspects one stream. Keeps less than three mebibytes of it, however it is cut."""

    def __init__(self, max_virtual_size_bytes: int = MAX_VIRTUAL_SIZE_BYTES) -> None:
        self._max_virtual_size_bytes = max_virtual_size_bytes
        self._experts = [
            _FormatInspector(kind()) for name, kind in oslo.ALL_FORMATS.items() if name != "raw"
        ]
        self._looking = self._experts
        self._block = bytearray()
        self._seen_bytes = 0
        self._own = _HeaderReader()

    def feed(self, chunk: bytes) -> None:
        """Inspect the next bytes. Never raises because of their content."""
        self._seen_bytes += len(chunk)
        rest = memoryview(chunk)
        while rest and self._looking:
            room = BLOCK_BYTES - len(self._block)
            self._block += rest[:room]
            rest = rest[room:]
            if len(self._block) == BLOCK_BYTES:
                self._show_block()
        self._own.keep_tail(chunk)

    def findings(self) -> Findings:
        """The findings, after the end of the stream. Call it once."""
        self._show_block()
        self._complete_sector()
        experts = {expert.name: expert for expert in self._experts if expert.finish()}
        readings = self._own.readings()
        formats = _formats(experts.keys(), readings)
        flaws = [flaw for expert in experts.values() for flaw in expert.flaws()]
        flaws += [flaw for reading in readings for flaw in reading.flaws]
        if "vmdk" in experts and not any(reading.format == "vmdk" for reading in readings):
            flaws.append(Flaw.DESCRIPTOR)  # a descriptor alone: its data is in other files
        size_bytes = self._virtual_size_bytes(formats, experts, readings)
        if any(expert.is_broken for expert in experts.values()) and not flaws:
            flaws.append(Flaw.UNREADABLE)
        if size_bytes > self._max_virtual_size_bytes:
            size_bytes = 0
            flaws.append(Flaw.TOO_LARGE)
        return Findings(
            formats=formats,
            virtual_size_bytes=size_bytes or None,
            flaws=tuple(dict.fromkeys(flaws)),
            is_encrypted=any(reading.is_encrypted for reading in readings),
            lookalike=self._own.lookalike if formats == RAW else None,
        )

    def _show_block(self) -> None:
        block = bytes(self._block)
        self._block.clear()
        is_first = self._own.is_empty
        if is_first:
            self._own.read_head(block.ljust(SECTOR_BYTES, b"\0"))
        self._looking = [
            expert for expert in self._looking if expert.wants_more_after(block, is_first=is_first)
        ]

    def _complete_sector(self) -> None:
        """Pad a stream shorter than a sector with zeros, as readers of disks do."""
        if self._seen_bytes < SECTOR_BYTES:
            self._block += bytes(SECTOR_BYTES - self._seen_bytes)
            self._show_block()

    def _virtual_size_bytes(
        self,
        formats: AbstractSet[str],
        experts: Mapping[str, _FormatInspector],
        readings: Sequence[HeaderFindings],
    ) -> int:
        """The size of the disk inside in bytes, or 0 if it is unknown."""
        if formats <= STREAM_SIZED_FORMATS | RAW:
            return self._seen_bytes
        if formats - STREAM_SIZED_FORMATS == {"iso"}:
            return experts["iso"].virtual_size_bytes()
        if len(formats) > 1:
            return 0
        (name,) = formats
        for reading in readings:
            if reading.format == name and reading.virtual_size_bytes is not None:
                return reading.virtual_size_bytes
        return experts[name].virtual_size_bytes()


class _FormatInspector:
    """One of oslo's inspectors, which may raise any exception."""

    def __init__(self, inspector: oslo.FileInspector) -> None:
        self.name = inspector.NAME
        self.is_broken = False
        self._inspector = inspector

    def wants_more_after(self, block: bytes, *, is_first: bool) -> bool:
        """Feed a block; returns whether it needs more to decide."""
        if is_first and self.name == "vmdk":
            block = headers.with_ascii_descriptor(block)
        try:
            self._inspector.eat_chunk(block)
        except Exception:  # noqa: BLE001 - whatever the bytes make it raise
            self.is_broken = True
        return not self.is_broken and not self._inspector.complete

    def finish(self) -> bool:
        """End the stream; returns whether the inspector recognises it."""
        self._inspector.finish()
        try:
            return self._inspector.format_match
        except Exception:  # noqa: BLE001 - it never got far enough to know
            return False

    def flaws(self) -> list[Flaw]:
        """The failed safety checks."""
        if self.name in TRUSTED_FORMATS:
            return []
        if self.is_broken:
            return [Flaw.UNREADABLE]
        try:
            self._inspector.safety_check()
        except oslo.SafetyCheckFailed as error:
            failures = [name for name in error.failures if name not in IGNORED_CHECKS]
            return [FLAWS_BY_CHECK.get(name, Flaw.UNCHECKED) for name in failures]
        except Exception:  # noqa: BLE001 - whatever the bytes make it raise
            return [Flaw.UNREADABLE]
        return []

    def virtual_size_bytes(self) -> int:
        """The size of the disk inside in bytes, or 0 if it is unknown."""
        try:
            return max(0, self._inspector.virtual_size)
        except Exception:  # noqa: BLE001 - whatever the bytes make it raise
            self.is_broken = True
            return 0


class _HeaderReader:
    """Collects what imaged's own readers need: the stream's beginning, its end, and VHDX's
    metadata.
    """

    def __init__(self) -> None:
        self.is_empty = True
        self.lookalike: Lookalike | None = None
        self._readings: list[HeaderFindings] = []
        self._start = b""
        self._tail = b""
        self._seen_bytes = 0
        self._vhdx_head = b""
        self._metadata = bytearray()
        self._metadata_offset: int | None = None

    def read_head(self, head: bytes) -> None:
        """Read the first block."""
        self.is_empty = False
        self.lookalike = find_lookalike(head)
        self._start = head[: headers.VHD_FOOTER_BYTES]
        for read in (headers.read_qcow2, headers.read_vdi, headers.read_vmdk, headers.read_udf):
            if reading := read(head):
                self._readings.append(reading)
        if headers.is_vhdx(head):
            self._vhdx_head = head
            self._metadata_offset = headers.find_vhdx_metadata(head)
            self._metadata += head[self._metadata_offset :] if self._metadata_offset else b""

    def keep_tail(self, chunk: bytes) -> None:
        """Keep what is needed of the next bytes of the stream."""
        start = self._seen_bytes
        self._seen_bytes += len(chunk)
        end = chunk[-headers.VHD_FOOTER_BYTES :]
        self._tail = (self._tail + end)[-headers.VHD_FOOTER_BYTES :]
        if self._metadata_offset is not None:
            at = self._metadata_offset + len(self._metadata) - start
            if 0 <= at < len(chunk):
                self._metadata += chunk[at : at + BLOCK_BYTES - len(self._metadata)]

    def readings(self) -> list[HeaderFindings]:
        """The findings for each recognised format, after the end of the stream."""
        readings = list(self._readings)
        if self._vhdx_head:
            readings.append(headers.read_vhdx(self._vhdx_head, bytes(self._metadata)))
        vhd = headers.read_vhd(self._start, self._tail, self._seen_bytes)
        return [*readings, vhd] if vhd else readings


def _formats(by_oslo: AbstractSet[str], readings: Sequence[HeaderFindings]) -> AbstractSet[str]:
    """The names of the recognised formats, {"raw"} if there are none."""
    found = set(by_oslo) | {reading.format for reading in readings}
    if "vhd" in found - by_oslo:
        found -= FIXED_VHD_CONTENTS
    if "iso" in found:
        found -= {"udf"}  # readable as either
    return frozenset(found) or RAW
