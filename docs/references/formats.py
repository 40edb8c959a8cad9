"""Makes the page of the disk formats, from the tables of ``core/disk_format``."""

from __future__ import annotations

from collections.abc import Sequence

from imaged.core.disk_format import CHECKABLE, DISK_FORMATS, EQUIVALENTS, Flaw, Lookalike
from references.markdown import MADE, code, table

_ADDABLE = sorted(CHECKABLE - {*DISK_FORMATS, "qed", "udf"})

_HEAD = f"""\
# Disk formats

{MADE}

For owners of images: which `disk_format` to declare, and why data is refused. imaged inspects
data in the container `bare` during an upload, staging, an import and a clone from another service,
and again before a conversion. The format that it finds must be the one that `disk_format`
declares (`uploads.check_format`), and must not make its readers open other files
(`uploads.refuse_unsafe`). A refusal is 415, or the message of the task; none of the data is kept.
"""

_CONFIGURED = f"""\
## Other formats

`images.disk_formats` and `images.container_formats` say which formats an image may have; these are
the defaults. Of those that an operator adds, {" and ".join(map(code, _ADDABLE))} are checked:
the data must be that. Data of any other one, such as `squashfs`, is taken without a check of its
format, because no inspector knows it; what makes a reader open other files is refused in any case.
"""

_FOUND_HEAD = """\
## Formats that may be found for a declared format

`gpt` is a partition table of either kind, and the first sector of a file system or of a kernel that
looks like one. `luks` is a volume that is encrypted as a whole, by LUKS 1 or 2: a raw disk, as
Cinder uploads it. `udf` is a disc or a file system with UDF. `raw` is what no inspector knows.
"""

_KINDS_HEAD = """\
## What to declare
"""

_FLAWS_HEAD = """\
## What is refused, and the remedy

These are refused for every declared format. The refusal lists all problems in one sentence.
"""

_NOTICES_HEAD = """\
## What is accepted with a notice

The attribute `imaged_notice` tells the owner if a raw disk begins like one of these, or
if an image has no data at all. `imaged push` prints it.
"""

#: A kind of file, the format to declare, and a note.
KINDS: Sequence[tuple[str, str, str]] = (
    ("A raw disk with an MBR or a GPT", "raw", ""),
    ("A file system without a partition table: ext4, XFS, FAT, NTFS, UDF", "raw", ""),
    ("A volume encrypted by LUKS 1 or 2", "raw", "The size of the disk is that of the file."),
    ("A qcow2 of version 2 or 3, packed by zlib or zstd, with extended L2 entries", "qcow2", ""),
    ("A qcow2 that is encrypted", "qcow2", "It is stored as it is, and cannot be converted."),
    (
        "A VHD, dynamic or fixed (the kind that Azure takes)",
        "vhd",
        "A fixed VHD has its mark only at its end: it is the bare disk and a footer.",
    ),
    ("A VHDX", "vhdx", "Detached, so that no log is left in it."),
    (
        "A VMDK in one file: monolithicSparse, streamOptimized",
        "vmdk",
        "The text in it may have names and comments in any encoding.",
    ),
    ("A VDI, dynamic or static", "vdi", ""),
    ("A disc with ISO 9660, with UDF, with both, and one that boots from a stick too", "iso", ""),
    ("A kernel, an initial RAM disk, a file system for Amazon's machines", "aki, ari, ami", ""),
    ("A virtual machine in one tar (OVA)", "any", "With the container `ova`: not inspected."),
)


def reference() -> str:
    """The page."""
    return "\n".join(
        [
            _HEAD,
            _KINDS_HEAD,
            table(("file", "`disk_format`", "note"), KINDS),
            _FOUND_HEAD,
            table(("declared", "found"), (_row(name) for name in DISK_FORMATS)),
            _CONFIGURED,
            _FLAWS_HEAD,
            table(("what it has", "what to do"), ((f.phrase, f.remedy) for f in Flaw)),
            _NOTICES_HEAD,
            table(("what it looks like", "what to do"), ((k.phrase, k.remedy) for k in Lookalike)),
        ]
    )


def _row(name: str) -> tuple[str, str]:
    allowed = EQUIVALENTS.get(name, frozenset({frozenset({name})}))
    found = sorted(" and ".join(code(part) for part in sorted(formats)) for formats in allowed)
    return code(name), "; ".join(found)
