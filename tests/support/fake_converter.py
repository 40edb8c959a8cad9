"""A converter for machines without qemu-img: it knows the same formats, and writes what it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from imaged.conversion.qemu_img import QEMU_FORMATS
from imaged.core.errors import ConversionRefused
from imaged.ports.disk_image import ProgressCallback
from support import disk_images

DISKS: Mapping[str, Callable[[], bytes]] = {
    "raw": disk_images.raw,
    "qcow2": disk_images.qcow2,
    "vmdk": disk_images.vmdk,
    "vdi": disk_images.vdi,
    "vhd": disk_images.vhd,
    "vhdx": disk_images.vhdx,
}


@dataclass
class FakeConverter:
    """Is a Converter. ``hold`` is waited for in the middle of a conversion, if it is there."""

    error: Exception | None = None
    hold: anyio.Event | None = None
    sources: list[bytes] = field(default_factory=list)

    def require_able(self, source_format: str, target_format: str) -> None:
        """Raises ConversionRefused."""
        for name in (source_format, target_format):
            if name not in QEMU_FORMATS:
                raise ConversionRefused(f"the format {name} cannot be converted")

    async def convert(
        self,
        source: Path,
        source_format: str,
        target: Path,
        target_format: str,
        tell: ProgressCallback,
    ) -> None:
        """Write a disk of the target's format."""
        self.require_able(source_format, target_format)
        self.sources.append(await anyio.Path(source).read_bytes())
        tell(0.5)
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        await anyio.Path(target).write_bytes(DISKS[target_format]())
        tell(1.0)
