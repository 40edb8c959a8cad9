"""An inspector made of those that oslo.utils maintains, one for each disk format.

Strategy. All of them look at the stream at once, and the answer is what those say that recognise
it. They depend on how a stream is cut: a descriptor is read from the chunk that it begins in, and
a table is not looked for in the chunk that tells of it. So they are shown blocks of one mebibyte,
however the bytes come: that is the whole of what is read at a stream's beginning, and a VHDX puts
its tables on borders of a mebibyte. Nearly always all of them are done after the first block, and
the rest of the stream is only counted.

Nobody is believed to cope with every byte sequence: one that raises is shown nothing more, and
where it had recognised its format before, the stream has headers that cannot be read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from oslo_utils.imageutils import format_inspector as oslo

from imaged.core.disk_format import RAW, Findings
from imaged.core.limits import MIB

BLOCK_BYTES = MIB
SECTOR_BYTES = 512
MAX_VIRTUAL_SIZE_BYTES = 1 << 50  # 1 PiB: more than a disk of any hypervisor

#: Formats whose disk is taken to be as large as the stream, but for what they put before it.
GROWING = frozenset({"gpt", "luks", "qed"})

#: Formats whose failures are not told. What a partition table says concerns those who boot from
#: the disk; no reader of the image opens another file because of it.
HARMLESS = frozenset({"gpt"})

UNREADABLE = "headers that are damaged or incomplete"
TOO_LARGE = "a virtual size that no disk can have"

#: What the failure of a safety check means, in a few words for people.
MEANINGS: Mapping[str, str] = {
    "backing_file": "a backing file",
    "data_file": "an external data file",
    "unknown_features": "a version or features that are not known to be safe",
    "descriptor": "a descriptor that names other files or cannot be understood",
    "footer": "a footer that contradicts the header",
    "banned": "a format that is never allowed",
    "version": "a version that is not supported",
}

# What it finds is told once, by ``findings``; its own lines would quote the client's bytes.
logging.getLogger(oslo.__name__).setLevel(logging.CRITICAL + 1)


class OsloInspector:
    """Looks at one stream. Keeps less than three mebibytes of it, however it is cut."""

    def __init__(self, max_virtual_size_bytes: int = MAX_VIRTUAL_SIZE_BYTES) -> None:
        self._max_virtual_size_bytes = max_virtual_size_bytes
        self._experts = [
            _Expert(kind()) for name, kind in oslo.ALL_FORMATS.items() if name != "raw"
        ]
        self._looking = self._experts
        self._block = bytearray()
        self._seen_bytes = 0

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes. Never raises because of what they are."""
        self._seen_bytes += len(chunk)
        rest = memoryview(chunk)
        while rest and self._looking:
            room = BLOCK_BYTES - len(self._block)
            self._block += rest[:room]
            rest = rest[room:]
            if len(self._block) == BLOCK_BYTES:
                self._show_block()

    def findings(self) -> Findings:
        """Say what was found, once the stream has ended. Call it once."""
        self._show_block()
        self._complete_sector()
        found = [expert for expert in self._experts if expert.finish()]
        if not found:
            return Findings(RAW, self._seen_bytes or None)
        virtual_size_bytes = self._virtual_size_bytes(found)
        unsafe = [phrase for expert in found for phrase in expert.unsafe()]
        if virtual_size_bytes > self._max_virtual_size_bytes:
            virtual_size_bytes = 0
            unsafe.append(TOO_LARGE)
        return Findings(
            formats=frozenset(expert.name for expert in found),
            virtual_size_bytes=virtual_size_bytes or None,
            unsafe=tuple(unsafe),
        )

    def _show_block(self) -> None:
        block = bytes(self._block)
        self._block.clear()
        self._looking = [expert for expert in self._looking if expert.looks_on_after(block)]

    def _complete_sector(self) -> None:
        """Readers see a file shorter than a sector with zeros behind it; so do we."""
        if self._seen_bytes < SECTOR_BYTES:
            self._block += bytes(SECTOR_BYTES - self._seen_bytes)
            self._show_block()

    def _virtual_size_bytes(self, found: Sequence[_Expert]) -> int:
        """The size of the disk inside, or 0 where it is not known."""
        if len(found) == 1:
            return found[0].virtual_size_bytes(self._seen_bytes)
        sizes = [e.virtual_size_bytes(self._seen_bytes) for e in found if e.name == "iso"]
        return max(sizes, default=0)


class _Expert:
    """One of oslo's inspectors, which may raise whatever it likes."""

    def __init__(self, inspector: oslo.FileInspector) -> None:
        self.name = inspector.NAME
        self._inspector = inspector
        self._is_broken = False

    def looks_on_after(self, block: bytes) -> bool:
        """Show it a block; whether it needs more to decide."""
        try:
            self._inspector.eat_chunk(block)
        except Exception:  # noqa: BLE001 - whatever the bytes make it raise
            self._is_broken = True
        return not self._is_broken and not self._inspector.complete

    def finish(self) -> bool:
        """Tell it that the stream has ended; whether it recognises it."""
        self._inspector.finish()
        try:
            return self._inspector.format_match
        except Exception:  # noqa: BLE001 - it never got far enough to know
            return False

    def unsafe(self) -> list[str]:
        """What may not be, each in a few words."""
        if self.name in HARMLESS:
            return []
        if self._is_broken:
            return [UNREADABLE]
        try:
            self._inspector.safety_check()
        except oslo.SafetyCheckFailed as error:
            return [MEANINGS.get(name, f"a failed check ({name})") for name in error.failures]
        except Exception:  # noqa: BLE001 - whatever the bytes make it raise
            return [UNREADABLE]
        return []

    def virtual_size_bytes(self, seen_bytes: int) -> int:
        """The size of the disk inside, or 0 where it is not known."""
        try:
            unseen = seen_bytes - self._inspector.actual_size if self.name in GROWING else 0
            return max(0, self._inspector.virtual_size + unseen)
        except Exception:  # noqa: BLE001 - whatever the bytes make it raise
            self._is_broken = True
            return 0
