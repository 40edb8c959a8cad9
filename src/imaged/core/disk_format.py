"""What the bytes are against what they were declared to be.

The looking is done by an ``Inspector`` (``ports/inspector.py``); here is the verdict.

Rule 1: declared must equal detected, with the equivalences below.
Rule 2: a format that no inspector knows looks like raw.
Rule 3: features that make a reader open other files are refused, whatever was declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

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

#: What may be found where this was declared. A raw disk with a partition table is found as gpt,
#: also where the table is an MBR; a hybrid ISO, made to boot from a stick too, is found as both.
EQUIVALENTS: Mapping[str, AbstractSet[AbstractSet[str]]] = {
    "raw": frozenset({RAW, frozenset({"gpt"})}),
    "iso": frozenset({frozenset({"iso"}), frozenset({"iso", "gpt"})}),
    "ami": frozenset({RAW}),
    "ari": frozenset({RAW}),
    "aki": frozenset({RAW}),
    "ploop": frozenset({RAW}),
}


@dataclass(frozen=True, slots=True)
class Findings:
    """What an inspector found in a whole stream."""

    formats: AbstractSet[str]  # {"raw"} where it knows none; more than one for a hybrid
    virtual_size_bytes: int | None = None
    unsafe: tuple[str, ...] = ()  # features that may not be, each in a few words


@dataclass(frozen=True, slots=True)
class FormatPolicy:
    """What is refused."""

    check_format: bool = True  # what is not what was declared
    refuse_unsafe: bool = True  # what makes a reader open other files


def is_inspected(container_format: str) -> bool:
    """Containers other than bare are not inspected before they are unpacked."""
    return container_format == "bare"


def require_declared(declared: str, findings: Findings, policy: FormatPolicy) -> None:
    """Raise FormatRefused for bytes that are not what they were declared to be, or not safe."""
    allowed = EQUIVALENTS.get(declared, frozenset({frozenset({declared})}))
    if policy.check_format and findings.formats not in allowed:
        found = " and ".join(sorted(findings.formats))
        raise FormatRefused(
            f"The data is {found}, but 'disk_format' says {declared}. "
            "Correct the attribute, or send other data."
        )
    if policy.refuse_unsafe and findings.unsafe:
        raise FormatRefused(
            f"The data has features that are not safe: {', '.join(findings.unsafe)}. "
            "Convert the image so that it stands alone."
        )
