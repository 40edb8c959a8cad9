"""How far the request that a connection is reading has come, and how large it is so far."""

from __future__ import annotations

from enum import Enum, auto

CHUNK_FRAME_BYTES = 32  # allowance per chunk beside its data: size, line ends, a short extension


class ReadState(Enum):
    """The part of a request that the connection waits for."""

    HEADER = auto()  # also before the first byte of the first request
    BODY = auto()
    NOTHING = auto()  # the request is complete, and the next one has not begun


class BadRequest(Exception):
    """Ends the reading of a request that is malformed or too large."""


class RequestSize:
    """Counts the bytes of one request, to bound what the parser keeps in memory."""

    __slots__ = ("body_bytes", "frame_bytes", "header_bytes", "unparsed_bytes")

    def __init__(self) -> None:
        self.restart_header()
        self.restart_body()

    def restart_header(self) -> None:
        """Count the next header from zero."""
        self.header_bytes = 0  # that the parser has handed over
        self.unparsed_bytes = 0  # that the parser still holds

    def restart_body(self) -> None:
        """Count the next body from zero."""
        self.body_bytes = 0
        self.frame_bytes = 0  # of chunks, beyond their data and CHUNK_FRAME_BYTES for each

    def add_input(self, state: ReadState, size_bytes: int) -> None:
        """Count bytes fed to the parser that completed nothing."""
        if state is ReadState.HEADER:
            self.unparsed_bytes += size_bytes
        elif state is ReadState.BODY:
            self.frame_bytes += size_bytes

    def add_chunk_header(self) -> None:
        """Grant the allowance of one more chunk."""
        self.frame_bytes -= CHUNK_FRAME_BYTES

    def add_body(self, size_bytes: int) -> None:
        """Count data of the body."""
        self.body_bytes += size_bytes
        self.frame_bytes -= size_bytes

    def header_exceeds(self, limit_bytes: int) -> bool:
        """Whether the header, or a line of it that does not end, is larger than the limit."""
        return max(self.header_bytes, self.unparsed_bytes) > limit_bytes

    def frames_exceed(self, limit_bytes: int) -> bool:
        """Whether chunk extensions and trailers take more bytes than the limit."""
        return self.frame_bytes > limit_bytes
