"""The interfaces for inspecting the bytes of an image while they pass; nothing is stored for it.

An inspector detects the disk format. An import check is the deployer's: a virus scan, a signature,
a list. It is loaded from the entry points ``imaged.import_checks``, each a callable without
arguments that returns an ``ImportCheck``; see docs/how-to/add-a-task-type.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from imaged.core.disk_format import Findings


class Inspector(Protocol):
    """Inspects one stream, in order, with at most a few MiB of it in memory.

    It is fed in a lane beside the event loop and must not touch anything else.
    """

    def feed(self, chunk: bytes) -> None:
        """Inspect the next bytes. Never raises because of their content."""
        ...

    def findings(self) -> Findings:
        """Return the findings, once, after the end of the stream."""
        ...


InspectorFactory = Callable[[], Inspector]


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
