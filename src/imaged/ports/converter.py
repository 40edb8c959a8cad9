"""What turns a disk image in one format into the same disk in another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

ProgressCallback = Callable[[float], None]  # told how much is done, from 0 to 1


class Converter(Protocol):
    """Converts files. Nothing that is in them is believed."""

    def require_able(self, source_format: str, target_format: str) -> None:
        """Raises ConversionRefused where it cannot be done, whatever the bytes are."""
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

        ``source_format`` is what the bytes have been found to be: nobody looks again. When this is
        cancelled, or raises ConversionFailed, nothing of it runs any more; the target is undefined.
        """
        ...
