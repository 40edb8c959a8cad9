"""Conversion of a disk image from one format to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

ProgressCallback = Callable[[float], None]  # called with the completed share, from 0 to 1


class Converter(Protocol):
    """Converts files. Their content is untrusted."""

    def require_able(self, source_format: str, target_format: str) -> None:
        """Raise ConversionRefused if the conversion is impossible, whatever the bytes are."""
        ...

    async def convert(
        self,
        source: Path,
        source_format: str,
        target: Path,
        target_format: str,
        tell: ProgressCallback,
    ) -> None:
        """Write the target, which exists and is empty.

        ``source_format`` is the detected format of the bytes: it is not detected again. When the
        call is cancelled or raises ConversionFailed, no process of it is left; the target is
        undefined.
        """
        ...
