"""What a power cut may leave: the traced calls of a store, and which of them may be lost.

The model is as weak as POSIX allows. Bytes are durable after an fsync of their file, names after an
fsync of their folder; of everything later any part may be lost, independently; a rename is two
changes that are lost independently.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from contracts.store_faulty_disks import Call


@dataclass
class File:
    """A file without a name of its own."""

    data: bytes = b""
    durable: bytes = b""

    def leftovers(self) -> set[bytes]:
        """Its possible content after a power cut: cut off anywhere, or with zeros."""
        lost = len(self.data) - len(self.durable)
        torn = self.data[: len(self.durable) + lost // 2]
        return {self.data, self.durable, torn, self.durable + bytes(max(lost, 0))}


@dataclass
class Naming:
    """A name that is added to a folder or removed (``file`` is None)."""

    path: Path
    file: File | None
    is_durable: bool = False


@dataclass
class CrashModel:
    """Follows a trace, and tells at any moment what a power cut would leave."""

    namings: list[Naming] = field(default_factory=list)
    open_files: dict[int, File] = field(default_factory=dict)
    open_folders: dict[int, Path] = field(default_factory=dict)

    def follow(self, call: Call) -> None:
        """Take one call into account."""
        match call.name, call.args:
            case "open", (path, flags, *_) if flags & os.O_CREAT:
                self.open_files[call.result] = File()
                self.namings.append(Naming(path, self.open_files[call.result]))
            case "open", (path, flags, *_) if flags & os.O_DIRECTORY:
                self.open_folders[call.result] = path
            case "writev", (descriptor, chunks):
                self.open_files[descriptor].data += b"".join(chunks)[: call.result]
            case "ftruncate", (descriptor, length):
                file = self.open_files[descriptor]
                file.data = file.data[:length].ljust(length, b"\0")
            case (("fsync" | "fdatasync"), (descriptor,)):
                self._sync(descriptor)
            case "rename", (source, target):
                self.namings += [Naming(target, self._named(source)), Naming(source, None)]
            case "link", (source, target):
                self.namings.append(Naming(target, self._named(source)))
            case "unlink", (path,):
                self.namings.append(Naming(path, None))
            case "close", (descriptor,):
                self.open_files.pop(descriptor, None)
                self.open_folders.pop(descriptor, None)

    def outcomes(self) -> Iterator[dict[Path, set[bytes]]]:
        """Every state that a power cut now may leave: names, and their possible content."""
        open_questions = sum(not naming.is_durable for naming in self.namings)
        for answers in product([True, False], repeat=open_questions):
            yield self._names(iter(answers))

    def _names(self, survives: Iterator[bool]) -> dict[Path, set[bytes]]:
        names: dict[Path, File] = {}
        for naming in self.namings:
            if not naming.is_durable and not next(survives):
                continue
            if naming.file is None:
                names.pop(naming.path, None)
            else:
                names[naming.path] = naming.file
        return {path: file.leftovers() for path, file in names.items()}

    def _sync(self, descriptor: int) -> None:
        if descriptor in self.open_files:
            file = self.open_files[descriptor]
            file.durable = file.data
        for naming in self.namings:
            if naming.path.parent == self.open_folders.get(descriptor):
                naming.is_durable = True

    def _named(self, path: Path) -> File:
        return next(
            naming.file for naming in reversed(self.namings) if naming.path == path and naming.file
        )


def moments(trace: Iterable[Call]) -> Iterator[CrashModel]:
    """The model before the first call, and after each."""
    model = CrashModel()
    yield model
    for call in trace:
        model.follow(call)
        yield model
