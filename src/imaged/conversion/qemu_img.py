"""qemu-img, one confined child for each conversion.

Both formats are named, so that nothing is probed; both files are ours, with names that we chose;
the child can open no other. It is killed, and waited for, whatever ends the conversion.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import anyio

from imaged.conversion import landlock, seccomp
from imaged.conversion.confine import Confinement
from imaged.core.errors import ConversionFailed, ConversionRefused
from imaged.core.limits import GIB
from imaged.ports.converter import Share

PROGRAM = "qemu-img"
PERCENT = re.compile(rb"\((\d+\.\d+)/100%\)")
KEPT_LINES = 5  # of what it says when it fails
READ_BYTES = 4096
END_SECONDS = 10  # how long the kernel may take to end what was killed

# What the Image API calls a format, what qemu-img calls it, and how it is to be written.
NAMES: Mapping[str, str] = {
    "raw": "raw",
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vdi": "vdi",
    "vhd": "vpc",
    "vhdx": "vhdx",
}
OPTIONS: Mapping[str, str] = {
    "vmdk": "subformat=streamOptimized",
    "vhd": "force_size=on",  # not rounded to what a disk of cylinders can have
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuImgSettings:
    """What a conversion may use."""

    memory_bytes: int = GIB
    cpu_time: timedelta = timedelta(hours=1)
    time: timedelta = timedelta(hours=4)  # in all
    max_size_bytes: int = 1024 * GIB  # of what is written


class QemuImg:
    """A Converter (``ports/converter.py``). ``settings`` may be replaced."""

    def __init__(self, settings: QemuImgSettings) -> None:
        self.settings = settings

    def require_able(self, source_format: str, target_format: str) -> None:
        """Raises ConversionRefused."""
        for name in (source_format, target_format):
            if name not in NAMES:
                known = ", ".join(NAMES)
                raise ConversionRefused(f"the format {name} cannot be converted, only {known}")
        if why := whats_missing():
            raise ConversionRefused(why)

    async def convert(
        self,
        source: Path,
        source_format: str,
        target: Path,
        target_format: str,
        tell: Share,
    ) -> None:
        """Raises ConversionRefused, ConversionFailed."""
        self.require_able(source_format, target_format)
        command = _command(source, source_format, target, target_format)
        confinement = self._confinement(command, source, target)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "imaged.conversion.confine",
            confinement.to_json(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self.settings.time.total_seconds()):
                last_words = await _watch(child, tell)
                status = await child.wait()
        except TimeoutError:
            raise ConversionFailed(f"it took longer than {self.settings.time}") from None
        finally:
            await _end(child)
        if status:
            raise ConversionFailed(_why(status, last_words, source, target))

    def _confinement(self, command: tuple[str, ...], source: Path, target: Path) -> Confinement:
        return Confinement(
            command=command,
            reads=(str(source),),
            writes=(str(target),),
            memory_bytes=self.settings.memory_bytes,
            cpu_seconds=int(self.settings.cpu_time.total_seconds()),
            file_bytes=self.settings.max_size_bytes,
            parent=os.getpid(),
        )


def whats_missing() -> str | None:
    """What this machine needs before it can convert, as a clause; None where nothing is."""
    if shutil.which(PROGRAM) is None:
        return "this server has no qemu-img: install the package qemu-utils"
    if not seccomp.is_known():
        covered = " and ".join(seccomp.ARCHITECTURES)
        return (
            f"qemu-img cannot be confined on this server's machine, {platform.machine()}, only on "
            f"{covered}: have images converted by an instance there"
        )
    if not landlock.version():
        return "this server's kernel cannot confine qemu-img (it needs Landlock)"
    return None


def _command(source: Path, source_format: str, target: Path, target_format: str) -> tuple[str, ...]:
    program = shutil.which(PROGRAM) or PROGRAM
    option = OPTIONS.get(target_format)
    return (
        *(program, "convert", "-p", "-U"),
        *("-f", NAMES[source_format], "-O", NAMES[target_format]),
        *(("-o", option) if option else ()),
        *("--", str(source.absolute()), str(target.absolute())),
    )


async def _watch(child: asyncio.subprocess.Process, tell: Share) -> str:
    """Listen until it has nothing more to say; its last words."""
    assert child.stdout is not None, "it was asked for"  # noqa: S101
    assert child.stderr is not None, "it was asked for"  # noqa: S101
    words = asyncio.create_task(_last_words(child.stderr))
    try:
        while said := await child.stdout.read(READ_BYTES):
            if found := PERCENT.findall(said):
                tell(float(found[-1]) / 100)
        return await words
    finally:
        words.cancel()


async def _last_words(stream: asyncio.StreamReader) -> str:
    lines: deque[str] = deque(maxlen=KEPT_LINES)
    while said := await stream.read(READ_BYTES):
        lines.extend(said.decode("utf-8", "replace").splitlines())
    return " ".join(lines)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill it if it still runs, and wait: nothing may write to the target after this."""
    with suppress(ProcessLookupError):
        child.kill()
    with anyio.move_on_after(END_SECONDS, shield=True):
        await child.wait()


def _why(status: int, last_words: str, source: Path, target: Path) -> str:
    """What it said, without our names for its files."""
    if status < 0:
        return f"qemu-img was ended by signal {-status}: it went beyond its limits"
    said = last_words.replace(str(source.absolute()), "the source")
    said = said.replace(str(target.absolute()), "the target")
    return f"qemu-img says: {said.removeprefix('qemu-img: ') or f'exit status {status}'}"
