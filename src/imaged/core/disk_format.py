"""The formats of disks, and whether data has the declared one.

An ``Inspector`` (``ports/disk_image.py``) detects the format; this module decides.

Rule 1: the declared format equals the detected one, with the equivalences below.
Rule 2: data of a format that no inspector recognises counts as raw; data that is declared as such a
format, which an operator has added, is taken as it is.
Rule 3: features that make a reader open other files are refused, whatever was declared.
Rule 4: each refusal names its remedy, and the remedy is the right one for that flaw.
Rule 5: raw data that is probably no disk is accepted: a disk may begin with any bytes, and an image
may be empty on purpose. Usually it is a mistake, and a notice tells the owner before a server fails
to boot.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum

from imaged.core.errors import FormatRefused

DISK_FORMATS = (
    "ami",
    "ari",
    "aki",
    "vhd",
    "vhdx",
    "vmdk",
    "raw",
    "qcow2",
    "vdi",
    "iso",
    "ploop",
)

CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")

RAW = frozenset({"raw"})
UDF = frozenset({"udf"})

#: Formats that may be detected in a disk declared as raw. A partition table is detected as gpt,
#: even if it is an MBR or the first sector of a file system or kernel; a volume that is encrypted
#: as a whole (LUKS 1 and 2) is the raw disk that Cinder uploads.
RAW_EQUIVALENTS = frozenset(
    {RAW, UDF, frozenset({"gpt"}), frozenset({"luks"}), frozenset({"gpt", "udf"})}
)

#: Formats that may be detected for each declared format. A hybrid ISO, which also boots from a USB
#: stick, is detected as both; a disc may have UDF (ECMA-167) without ISO 9660.
EQUIVALENTS: Mapping[str, AbstractSet[AbstractSet[str]]] = {
    "raw": RAW_EQUIVALENTS,
    "iso": frozenset({frozenset({"iso"}), frozenset({"iso", "gpt"}), UDF, UDF | {"gpt"}}),
    "ami": RAW_EQUIVALENTS,
    "ari": RAW_EQUIVALENTS,
    "aki": RAW_EQUIVALENTS,
    "ploop": RAW_EQUIVALENTS,
}

#: Formats that an inspector detects, or of which it says that they are raw.
CHECKABLE = frozenset(
    {"qcow2", "vhd", "vhdx", "vmdk", "vdi", "gpt", "luks", "qed", "udf", *EQUIVALENTS}
)

#: Formats whose data begins like a disk. A kernel (aki) or RAM disk (ari) may be compressed.
RAW_LIKE_FORMATS = frozenset({"raw", "ami", "ploop"})

#: Nova sets it on the image of a server that boots from a volume: its data is in snapshots.
BLOCK_DEVICE_MAPPING = "block_device_mapping"

_DECOMPRESS = "Decompress it, and upload the result as a new image."
_EXTRACT = "Extract the image from it, and upload that as a new image."


class _Finding(Enum):
    """``phrase``: how a sentence names it. ``remedy``: for the owner, a sentence."""

    def __init__(self, phrase: str, remedy: str) -> None:
        self.phrase = phrase
        self.remedy = remedy


class Lookalike(_Finding):
    """A kind of file recognised by its beginning, with the remedy for the owner."""

    GZIP = ("a file compressed with gzip", _DECOMPRESS)
    XZ = ("a file compressed with xz", _DECOMPRESS)
    ZSTD = ("a file compressed with zstd", _DECOMPRESS)
    BZIP2 = ("a file compressed with bzip2", _DECOMPRESS)
    LZ4 = ("a file compressed with lz4", _DECOMPRESS)
    ZIP = ("a zip archive", _EXTRACT)
    SEVEN_ZIP = ("a 7z archive", _EXTRACT)
    TAR = (
        "a tar archive",
        (
            "Upload the disk that is in it as a new image; an OVA as a whole has the "
            "'container_format' ova."
        ),
    )
    HTML = (
        "a web page",
        (
            "Check the response of its address, perhaps an error or a login form, and upload "
            "the disk itself as a new image."
        ),
    )


class Flaw(_Finding):
    """Why data is refused although its format is as declared, each with its remedy."""

    BACKING_FILE = (
        "a backing file",
        (
            "Merge it with that file where both are, for example by 'qemu-img convert', and send "
            "the result, which stands alone."
        ),
    )
    PARENT = (
        "a parent disk that keeps a part of its data",
        (
            "Merge it with its parent where both are, for example by 'qemu-img convert' (VMDK), "
            "'VBoxManage clonemedium' (VDI) or Convert-VHD (VHD, VHDX), and send the result, which "
            "stands alone."
        ),
    )
    DATA_FILE = (
        "an external data file",
        (
            "Convert it where that file is, by 'qemu-img convert -O qcow2', and send the result, "
            "which stands alone."
        ),
    )
    UNKNOWN_FEATURES = (
        "a version or features that are not known to be safe",
        "Convert it to a common version of its format, for example by 'qemu-img convert'.",
    )
    DESCRIPTOR = (
        "a descriptor that names other files or cannot be understood",
        (
            "Convert it to a VMDK in one file, by 'qemu-img convert -O vmdk -o "
            "subformat=streamOptimized'."
        ),
    )
    FOOTER = (
        "a footer that contradicts the header",
        (
            "Send the file again; if it is whole, have the disk written anew by the program that "
            "made it."
        ),
    )
    BANNED = ("a format that is never allowed", "Convert it to qcow2.")
    UNREADABLE = (
        "headers that are damaged or incomplete",
        (
            "Send the file again; if it is whole, have the disk written anew by the program that "
            "made it."
        ),
    )
    TOO_LARGE = (
        "a virtual size that no disk can have",
        "Make the disk smaller, or look for what damaged its headers.",
    )
    UNFINISHED = (
        "a log of changes that are not in its data yet",
        (
            "Open and close the disk once with the program that made it, or convert it by "
            "'Convert-VHD', and send the result."
        ),
    )
    UNCHECKED = (
        "what a safety check of its format refuses",
        "Convert it, for example by 'qemu-img convert -O qcow2', and send the result.",
    )


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings of an inspector on a whole stream."""

    formats: AbstractSet[str]  # {"raw"} if none is recognised; several for a hybrid
    virtual_size_bytes: int | None = None
    flaws: tuple[Flaw, ...] = ()  # reasons to refuse the data, whatever was declared
    is_encrypted: bool = False  # encrypted by its format: unreadable without the key
    lookalike: Lookalike | None = None  # what it begins like, if no format is recognised


@dataclass(frozen=True, slots=True)
class FormatPolicy:
    """Which data is refused."""

    check_format: bool  # refuse data of another format than declared
    refuse_unsafe: bool  # refuse features that make a reader open other files


def is_inspected(container_format: str) -> bool:
    """Whether data is inspected before it is unpacked: only in the container format bare."""
    return container_format == "bare"


def require_declared(declared: str, findings: Findings, policy: FormatPolicy) -> None:
    """Raise FormatRefused for data of another format than declared, and for unsafe data."""
    is_checked = policy.check_format and declared in CHECKABLE
    if is_checked and not _fits(declared, findings.formats):
        found = " and ".join(sorted(findings.formats))
        raise FormatRefused(
            f"The data is {found}, but 'disk_format' says {declared}. {_remedy(findings)}"
        )
    if policy.refuse_unsafe and findings.flaws:
        phrases = ", ".join(flaw.phrase for flaw in findings.flaws)
        remedies = " ".join(dict.fromkeys(flaw.remedy for flaw in findings.flaws))
        raise FormatRefused(f"The data is refused because it has {phrases}. {remedies}")


def _fits(declared: str, found: AbstractSet[str]) -> bool:
    return found in EQUIVALENTS.get(declared, frozenset({frozenset({declared})}))


def _remedy(findings: Findings) -> str:
    """The remedy for data whose declared format is wrong."""
    if findings.lookalike is not None:
        return f"It looks like {findings.lookalike.phrase}. {findings.lookalike.remedy}"
    found = findings.formats
    suitable = next((name for name in ("raw", *DISK_FORMATS) if _fits(name, found)), None)
    if suitable is None:
        return "No 'disk_format' fits it: convert it to qcow2 or raw, or send other data."
    return f"Set 'disk_format' to {suitable}, or send other data."


def notice_of(
    disk_format: str,
    size_bytes: int,
    lookalike: Lookalike | None,
    properties: Mapping[str, object],
) -> str | None:
    """The notice for the owner about accepted data; None: no notice."""
    if not size_bytes:
        if BLOCK_DEVICE_MAPPING in properties:
            return None
        return (
            "The image has no data: 0 bytes were sent. If it is to have some, upload them as a new "
            "image; 'openstack image create' sends those of --file."
        )
    if lookalike is None or disk_format not in RAW_LIKE_FORMATS:
        return None
    return f"The data looks like {lookalike.phrase}, and not like a disk. {lookalike.remedy}"
