"""Checks that a deployer may run on every imported image: a virus scan, a signature, a list.

A check is loaded from the entry points ``imaged.import_checks``, each a callable without arguments
that returns an ``ImportCheck``; see docs/how-to/add-a-task-type.md. It receives the stream as it
passes; no data is stored for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFacts:
    """The facts about an image that are known before its bytes."""

    owner: str
    disk_format: str
    properties: Mapping[str, object]  # as the client wrote them
    source: str  # the host that sends the bytes, after redirects; "" for staged data


class ImportCheckRun(Protocol):
    """The check of one stream, run in a thread beside the event loop."""

    def feed(self, chunk: bytes) -> None:
        """Examine the next bytes, in order."""
        ...

    def verdict(self) -> str | None:
        """After the last byte: None, or why the image is refused, in words for its owner."""
        ...


class ImportCheck(Protocol):
    """A check. An error that it raises fails the import: no image passes unchecked."""

    @property
    def name(self) -> str:
        """The name in the log and in messages."""
        ...

    def begin(self, facts: ImportFacts) -> ImportCheckRun:
        """Begin the check of one image."""
        ...
