"""Writes to the systemd journal in its native protocol: an entry is a datagram of fields.

A field is ``NAME=value``, or has a length prefix if the value has several lines. An entry too large
for a datagram is passed as a sealed memfd (systemd.io, "Native Journal Protocol"). Each fact is a
field, so ``journalctl IMAGE_ID=…`` finds it.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import re
import socket
import struct
from collections.abc import Mapping
from typing import Any

SOCKET_PATH = "/run/systemd/journal/socket"
IDENTIFIER = "imaged"
MAX_FIELD_NAME_LENGTH = 64
JOURNAL_SEND_SECONDS = 0.2  # the longest that a hanging journal blocks
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # syslog(3)

#: Fields with a meaning to the journal; a fact with such a name gets a prefix.
RESERVED_FIELDS = frozenset({"MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER"})

#: Not repeated in MESSAGE, which starts with the event and has one line.
OMITTED_FIELDS = frozenset({"event", "exception", "why"})

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_TOO_LARGE = {errno.EMSGSIZE, errno.ENOBUFS}
_NO_LETTER = re.compile(r"[^A-Z0-9_]")
_PLAIN = re.compile(r"[^\s\"=\\]+")


def send_to_journal(fields: Mapping[str, str]) -> bool:
    """Send an entry; False if the journal did not accept it."""
    entry = b"".join(_encoded(name, value) for name, value in fields.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(JOURNAL_SEND_SECONDS)
        try:
            channel.sendto(entry, SOCKET_PATH)
        except OSError as error:
            return error.errno in _TOO_LARGE and _send_as_file(channel, entry)
        return True


def _send_as_file(channel: socket.socket, entry: bytes) -> bool:
    descriptor = os.memfd_create("imaged-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(entry)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
        channel.sendmsg([], [passed], 0, SOCKET_PATH)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def journal_fields(event: Mapping[str, Any]) -> dict[str, str]:
    """Return an event as journal fields: MESSAGE for people, and each fact under its name."""
    facts = {name: value for name, value in event.items() if name not in {"timestamp", "level"}}
    return {
        "MESSAGE": _message(facts),
        "PRIORITY": str(priority(event)),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        **{_name(name): _text(value) for name, value in facts.items()},
    }


def priority(event: Mapping[str, Any]) -> int:
    """Return the level of an event as syslog(3) has it."""
    return PRIORITIES.get(event.get("level", ""), PRIORITIES["info"])


def _message(facts: Mapping[str, Any]) -> str:
    told = (name for name in facts if name not in OMITTED_FIELDS)
    words = [f"{name}={_word(_text(facts[name]))}" for name in told]
    event = _text(facts.get("event"))
    if "why" in facts:  # a sentence for people: no quotes around it
        event = f"{event}: {_text(facts['why'])}"
    return " ".join([event, *words])


def _word(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _name(name: str) -> str:
    """Return a valid field name: capital letters, digits and inner underscores."""
    legal = _NO_LETTER.sub("_", name.upper())[:MAX_FIELD_NAME_LENGTH]
    if legal in RESERVED_FIELDS or not legal[:1].isalpha():
        return f"IMAGED_{legal}"[:MAX_FIELD_NAME_LENGTH]
    return legal


def _encoded(name: str, value: str) -> bytes:
    data = value.encode()
    if b"\n" in data:
        return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"
