"""Errors of received and stored bytes."""

from __future__ import annotations

from collections.abc import Sequence

from imaged.core.errors.base import ImagedError


class DataRefused(ImagedError):
    """The received bytes are refused."""


class SizeMismatch(DataRefused):
    """Fewer or more bytes were received than announced."""

    def __init__(self, announced_bytes: int, received_bytes: int) -> None:
        super().__init__(f"{announced_bytes} bytes were announced, {received_bytes} were received.")


class RetryMismatch(DataRefused):
    """An upload broke off, and this body is not the same file from its first byte."""

    def __init__(self, received_bytes: int, why: str) -> None:
        super().__init__(
            f"An upload into this image broke off after {received_bytes} bytes, and this one "
            f"{why}. Send the whole file again, from its first byte; or, to send another file on "
            "purpose, set the header 'X-Imaged-Replace: true'."
        )


class TooLarge(DataRefused):
    """More bytes than ``uploads.max_size`` allows."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The data is larger than the limit of {limit_bytes} bytes.")


class FormatRefused(DataRefused):
    """The bytes are not of the declared format, or have features that are not safe."""


class DataDamaged(ImagedError):
    """Stored bytes differ from their record. ``problems``: one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(f"The data of the image is damaged. {' '.join(problems)}")
        self.problems = tuple(problems)


class ClientVanished(ImagedError):
    """The body ended before its announced end."""

    def __init__(self) -> None:
        super().__init__("The connection broke off before the end of the data.")


class QuotaExceeded(ImagedError):
    """The owner's quota has no room for the bytes."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"The quota of the project {owner} is used up.")
