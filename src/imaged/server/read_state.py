"""Whose turn it is on a connection."""

from __future__ import annotations

from enum import Enum, auto


class ReadState(Enum):
    """What of a request we are waiting for."""

    HEADER = auto()  # also before the first byte of the first one
    BODY = auto()
    NOTHING = auto()  # it is there as a whole, and no other has begun


class BadRequest(Exception):
    """The request is not to be read further."""
