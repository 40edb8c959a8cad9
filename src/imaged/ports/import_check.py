"""What a deployer may ask of every image before it exists: a virus scan, a signature, a list.

A check comes by the entry points ``imaged.import_checks``, each a callable without arguments that
makes an ``ImportCheck``; see docs/how-to/add-a-task-type.md. It looks at the stream while it
passes; nothing is kept for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFacts:
    """What is known of an image before its bytes."""

    owner: str
    disk_format: str
    properties: Mapping[str, object]  # as the client wrote them
    source: str  # the host that sends the bytes, after redirects; "" where a client staged them


class ImportCheckRun(Protocol):
    """One look at one stream, in a thread beside the event loop."""

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes, in order."""
        ...

    def verdict(self) -> str | None:
        """After the last byte: None, or why the image may not be, in words for its owner."""
        ...


class ImportCheck(Protocol):
    """A check. What it raises fails the import: a check that cannot look lets nothing pass."""

    @property
    def name(self) -> str:
        """How the log and the message call it."""
        ...

    def begin(self, facts: ImportFacts) -> ImportCheckRun:
        """Look at one more image."""
        ...
