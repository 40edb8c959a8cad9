"""qemu-img, run as a sandboxed child for each step of a conversion.

Both formats are named, so nothing is probed. Both files belong to imaged, with names that it chose,
and the child can open no other. It is killed and waited for whenever the conversion ends early.

A disk with missing parts or contradictory tables is refused before it is converted: QEMU would read
zeros there. The output of a failed qemu-img goes to the log, for the operator; owners get a
sentence of imaged's own, because the output names files of the server.
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
import structlog
from anyio import to_thread

from imaged.conversion import sandbox, seccomp
from imaged.conversion.sandbox import SandboxSettings
from imaged.conversion.truncation import missing_bytes
from imaged.core.errors import ConversionFailed, ConversionRefused
from imaged.ports.disk_image import ProgressCallback

log = structlog.get_logger()

QEMU_IMG = "qemu-img"
PROGRESS_PATTERN = re.compile(rb"\((\d+\.\d+)/100%\)")
MAX_STDERR_LINES = 5  # of its error output
READ_BYTES = 4096
KILL_TIMEOUT_SECONDS = 10  # time for the kernel to end a killed process

#: qemu-img's name of a format, by the Image API's.
QEMU_FORMATS: Mapping[str, str] = {
    "raw": "raw",
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vdi": "vdi",
    "vhd": "vpc",
    "vhdx": "vhdx",
}
#: Formats that ``qemu-img check`` examines; of VHDX it checks only the log, of VHD nothing.
CHECKABLE_FORMATS = frozenset({"qcow2", "vmdk", "vdi"})
CHECK_FOUND_ERRORS, CHECK_FOUND_LEAKS = 2, 3  # exit statuses; leaks waste space and lose no data
VMDK_TRUNCATED_TEXT = "points after EOF"  # together with the status of a check that could not run

#: Options for writing a target.
TARGET_OPTIONS: Mapping[str, str] = {
    "vmdk": "subformat=streamOptimized",
    "vhd": "force_size=on",  # not rounded to a size in cylinders, heads and sectors
}

#: Options for reading a source. Without them QEMU takes the size of a VHD from its cylinders unless
#: it knows the creator program, and so omits the end of disks that VirtualBox made.
SOURCE_OPTIONS: Mapping[str, Mapping[str, str]] = {"vhd": {"force_size_calc": "current_size"}}

#: qemu-img's messages for write errors of the target disk, in the words of the C library.
FILE_TOO_LARGE_TEXT, DISK_FULL_TEXT = "File too large", "No space left on device"


@dataclass(frozen=True, slots=True)
class _ExitResult:
    """How a step ended."""

    status: int  # negative: by a signal
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuImgSettings:
    """The limits of a conversion."""

    memory_bytes: int
    cpu_time: timedelta
    time: timedelta  # in all
    max_size_bytes: int  # of the written file


class QemuImg:
    """Converts disks. A ``Converter`` (``ports/disk_image.py``); ``settings`` may be replaced."""

    def __init__(self, settings: QemuImgSettings) -> None:
        self.settings = settings

    def require_able(self, source_format: str, target_format: str) -> None:
        """Raises ConversionRefused."""
        for name in (source_format, target_format):
            if name not in QEMU_FORMATS:
                known = ", ".join(QEMU_FORMATS)
                raise ConversionRefused(f"the format {name} cannot be converted, only {known}")
        if why := unsupported_reason():
            raise ConversionRefused(why)

    async def convert(
        self,
        source: Path,
        source_format: str,
        target: Path,
        target_format: str,
        tell: ProgressCallback,
    ) -> None:
        """Raises ConversionRefused, ConversionFailed."""
        self.require_able(source_format, target_format)
        if missing := await to_thread.run_sync(
            missing_bytes, source, source_format, abandon_on_cancel=True
        ):
            raise ConversionFailed(
                f"the disk has at least {missing} bytes more than were sent: send the whole file"
            )
        if source_format in CHECKABLE_FORMATS:
            await self._check(source, source_format)
        command = _command(source, source_format, target, target_format)
        ended = await self._run(command, source, (target,), tell)
        if ended.status:
            raise ConversionFailed(self._why(ended, source_format))

    async def _check(self, source: Path, source_format: str) -> None:
        """Check that its tables are consistent. Raises ConversionFailed."""
        command = (_program(), "check", "-q", "-U", "-f", QEMU_FORMATS[source_format], str(source))
        ended = await self._run(command, source, (), lambda _share: None)
        if ended.status == CHECK_FOUND_ERRORS or VMDK_TRUNCATED_TEXT in ended.said:
            log.warning("conversion.failed", step="check", said=ended.said)
            raise ConversionFailed(
                "its tables contradict each other, or point beyond its end: send the whole file, "
                "or what 'qemu-img check -r all' makes of it"
            )
        if ended.status not in (0, CHECK_FOUND_LEAKS):
            raise ConversionFailed(self._why(ended, source_format))

    async def _run(
        self,
        command: tuple[str, ...],
        source: Path,
        targets: tuple[Path, ...],
        tell: ProgressCallback,
    ) -> _ExitResult:
        """Run one step to its end. Raises ConversionFailed if that takes too long."""
        sandbox = self._sandbox_settings(command, source, targets)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "imaged.conversion.sandbox",
            sandbox.to_json(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self.settings.time.total_seconds()):
                last_words = await _report_progress(child, tell)
                return _ExitResult(await child.wait(), last_words)
        except TimeoutError:
            raise ConversionFailed(f"it took longer than {self.settings.time}") from None
        finally:
            await _kill(child)

    def _why(self, ended: _ExitResult, source_format: str) -> str:
        """The reason for the owner; qemu-img's own words go to the log."""
        log.warning("conversion.failed", step="convert", status=ended.status, said=ended.said)
        if ended.status < 0:
            return f"qemu-img was ended by signal {-ended.status}: it went beyond its limits"
        if FILE_TOO_LARGE_TEXT in ended.said:
            most = self.settings.max_size_bytes
            return f"the result would have more than {most} bytes, the most that is accepted"
        if DISK_FULL_TEXT in ended.said:
            return "the server has no room for the result now: try again later"
        return (
            f"qemu-img cannot read it as {source_format}: it is damaged, or of an unsupported "
            "kind; the server's log has the details"
        )

    def _sandbox_settings(
        self, command: tuple[str, ...], source: Path, targets: tuple[Path, ...]
    ) -> SandboxSettings:
        return SandboxSettings(
            command=command,
            reads=(str(source),),
            writes=tuple(map(str, targets)),
            memory_bytes=self.settings.memory_bytes,
            cpu_seconds=int(self.settings.cpu_time.total_seconds()),
            file_bytes=self.settings.max_size_bytes,
            parent=os.getpid(),
        )


def unsupported_reason() -> str | None:
    """What this machine lacks for conversions, as a clause; None if nothing."""
    if shutil.which(QEMU_IMG) is None:
        return "this server has no qemu-img: install the package qemu-utils"
    if not seccomp.is_supported():
        covered = " and ".join(seccomp.ARCHITECTURES)
        return (
            f"qemu-img cannot be confined on this server's machine, {platform.machine()}, only on "
            f"{covered}: have images converted by an instance there"
        )
    if not sandbox.landlock_version():
        return "this server's kernel cannot confine qemu-img (it needs Landlock)"
    return None


def _program() -> str:
    return shutil.which(QEMU_IMG) or QEMU_IMG


def _command(source: Path, source_format: str, target: Path, target_format: str) -> tuple[str, ...]:
    option = TARGET_OPTIONS.get(target_format)
    return (
        *(_program(), "convert", "-p", "-U", "--image-opts"),
        *("-O", QEMU_FORMATS[target_format]),
        *(("-o", option) if option else ()),
        *("--", _source_options(source, source_format), str(target.absolute())),
    )


def _source_options(source: Path, source_format: str) -> str:
    """The source as QEMU's options, where a comma in a name is doubled."""
    options = {
        "driver": QEMU_FORMATS[source_format],
        **SOURCE_OPTIONS.get(source_format, {}),
        "file.driver": "file",
        "file.filename": str(source.absolute()).replace(",", ",,"),
    }
    return ",".join(f"{name}={value}" for name, value in options.items())


async def _report_progress(child: asyncio.subprocess.Process, tell: ProgressCallback) -> str:
    """Report progress until the output ends; returns its last bytes."""
    assert child.stdout is not None, "it was asked for"  # noqa: S101 - for the type checker
    assert child.stderr is not None, "it was asked for"  # noqa: S101 - for the type checker
    words = asyncio.create_task(_stderr_tail(child.stderr))
    try:
        while said := await child.stdout.read(READ_BYTES):
            if found := PROGRESS_PATTERN.findall(said):
                tell(float(found[-1]) / 100)
        return await words
    finally:
        words.cancel()


async def _stderr_tail(stream: asyncio.StreamReader) -> str:
    lines: deque[str] = deque(maxlen=MAX_STDERR_LINES)
    while said := await stream.read(READ_BYTES):
        lines.extend(said.decode("utf-8", "replace").splitlines())
    return " ".join(lines)


async def _kill(child: asyncio.subprocess.Process) -> None:
    """Kill the process if it still runs, and wait: nothing may write to the target after this."""
    with suppress(ProcessLookupError):
        child.kill()
    with anyio.move_on_after(KILL_TIMEOUT_SECONDS, shield=True):
        await child.wait()
