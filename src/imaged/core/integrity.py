"""What a read of stored bytes finds, and the mark that damage leaves on an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imaged.core.byte_range import ByteSpan
from imaged.core.errors import DataDamaged
from imaged.core.image import Change, Content, Image
from imaged.core.lifecycle import RESTORE_EVENTS


@dataclass(frozen=True, slots=True)
class StoredContent:
    """What the bytes in one store turned out to be; None where it has none."""

    store: str
    found: Content | None


def problems_of(content: Content, reading: StoredContent) -> Sequence[str]:
    """What is not as it was recorded, each as a sentence for the image's owner."""
    found, where = reading.found, f"In the store {reading.store!r}"
    if found is None:
        return (f"{where} the data is missing.",)
    if found.size_bytes != content.size_bytes:
        return (f"{where} the data has {found.size_bytes} bytes, and not {content.size_bytes}.",)
    compared = [("checksum", found.checksum, content.checksum)]
    if found.hash_algorithm == content.hash_algorithm:  # else the checksum has to be enough
        compared.append((content.hash_algorithm, found.hash_value, content.hash_value))
    return tuple(
        f"{where} the data has the {name} {is_now}, and not {was}."
        for name, is_now, was in compared
        if is_now != was
    )


def require_undamaged(content: Content, reading: StoredContent) -> None:
    """Raise DataDamaged unless the bytes are as they were recorded."""
    if problems := problems_of(content, reading):
        raise DataDamaged(problems)


def require_checksum(store: str, span: ByteSpan, found: int, expected: int | None) -> None:
    """Raise DataDamaged unless a block has the CRC-32C that was recorded, if one was."""
    if expected is None or found == expected:
        return
    where = f"In the store {store!r} the bytes {span.start} to {span.start + span.length - 1}"
    raise DataDamaged([f"{where} have the CRC-32C {found:08x}, and not {expected:08x}."])


def is_damaged(image: Image) -> bool:
    """Whether the operator has to look; one that was deleted is nobody's trouble any more."""
    return image.damage is not None and image.status in RESTORE_EVENTS


def mark_damage(seen: Image, problems: Sequence[str]) -> Change:
    """Note what was found, or that all is well. Nothing is noted if the data is another by now."""

    def change(image: Image) -> Image:
        damage = " ".join(problems) or None
        if image.locations != seen.locations or image.damage == damage:
            return image
        return replace(image, damage=damage)

    return change
