"""An import check: images with a private key in them are refused."""

from __future__ import annotations

from imaged.ports.disk_image import ImportFacts

MARK = b"-----BEGIN OPENSSH PRIVATE KEY-----"


class NoPrivateKeys:
    """Made once; looks at any number of images, several at a time."""

    name = "no-private-keys"

    def begin(self, facts: ImportFacts) -> Look:
        """Look at one more image. Those of owners who know what they do may have keys."""
        return Look(is_trusted=facts.properties.get("may_have_keys") == "yes")


class Look:
    """A look at one image; the chunks come in order, in a thread of this look alone."""

    def __init__(self, *, is_trusted: bool) -> None:
        self._is_trusted = is_trusted
        self._end = b""
        self._found = False

    def feed(self, chunk: bytes) -> None:
        """A mark may lie across two chunks."""
        seen = self._end + bytes(chunk)
        self._found = self._found or MARK in seen
        self._end = seen[-len(MARK) :]

    def verdict(self) -> str | None:
        """None, or why not."""
        if self._found and not self._is_trusted:
            return "it has a private key in it."
        return None
