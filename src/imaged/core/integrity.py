"""Compares stored bytes with their record, and marks images whose data is damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imaged.core.byte_range import ByteSpan
from imaged.core.errors import DataDamaged
from imaged.core.image import Change, Content, Image
from imaged.core.lifecycle import RESTORE_EVENTS


@dataclass(frozen=True, slots=True)
class StoredContent:
    """The actual content of one store; None if the blob is missing there."""

    store: str
    found: Content | None


def problems_of(content: Content, reading: StoredContent) -> Sequence[str]:
    """The differences from the record, each as a sentence for the image's owner."""
    found, where = reading.found, f"In the store {reading.store!r}"
    if found is None:
        return (f"{where} the data is missing.",)
    if found.size_bytes != content.size_bytes:
        return (f"{where} the data has {found.size_bytes} bytes, and not {content.size_bytes}.",)
    compared = [("checksum", found.checksum, content.checksum)]
    if found.hash_algorithm == content.hash_algorithm:  # otherwise the checksum has to suffice
        compared.append((content.hash_algorithm, found.hash_value, content.hash_value))
    return tuple(
        f"{where} the data has the {name} {is_now}, and not {was}."
        for name, is_now, was in compared
        if is_now != was
    )


def require_undamaged(content: Content, reading: StoredContent) -> None:
    """Raise DataDamaged unless the bytes match their record."""
    if problems := problems_of(content, reading):
        raise DataDamaged(problems)


def require_checksum(store: str, span: ByteSpan, found: int, expected: int | None) -> None:
    """Raise DataDamaged if the CRC-32C of a block differs from its record, if it has one."""
    if expected is None or found == expected:
        return
    where = f"In the store {store!r} the bytes {span.start} to {span.start + span.length - 1}"
    raise DataDamaged([f"{where} have the CRC-32C {found:08x}, and not {expected:08x}."])


def is_damaged(image: Image) -> bool:
    """Whether an operator must act: the image has damaged data and is not deleted."""
    return image.damage is not None and image.status in RESTORE_EVENTS


def mark_damage(seen: Image, problems: Sequence[str]) -> Change:
    """Record the problems found, or that there are none; no change if the data was replaced."""

    def change(image: Image) -> Image:
        damage = " ".join(problems) or None
        if image.locations != seen.locations or image.damage == damage:
            return image
        return replace(image, damage=damage)

    return change
