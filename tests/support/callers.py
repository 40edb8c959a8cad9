"""Callers that tests act as: an owner, a reader of the same project, a stranger, an admin."""

from __future__ import annotations

from imaged.core.access import Caller

OWNER = Caller("ann", "p1", frozenset({"member", "reader"}))
READER = Caller("rea", "p1", frozenset({"reader"}))
STRANGER = Caller("bob", "p2", frozenset({"member", "reader"}))
ADMIN = Caller("root", "p0", frozenset({"admin"}))
