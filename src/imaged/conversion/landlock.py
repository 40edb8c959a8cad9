"""Restrict this process to a few files: Landlock, part of Linux since 5.13 (landlock(7)).

Where the kernel supports it, TCP is restricted too (version 4, Linux 6.7), and so are signals and
abstract sockets of other processes (version 6, Linux 6.12).

It is irrevocable for this process and its children, and needs no rights. The C library has no
functions for it, so the system calls are made by number; the numbers are the same on every machine.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE = 1 << 14  # since version 3

READ_ACCESS = READ_FILE | READ_DIR
EXECUTE_ACCESS = READ_ACCESS | EXECUTE
WRITE_ACCESS = READ_FILE | WRITE_FILE | TRUNCATE

_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}

_NETWORK_SINCE, _NETWORK = 4, 0b11  # to bind and to connect
_SCOPE_SINCE, _SCOPE = 6, 0b11  # abstract UNIX sockets, and signals

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi_version() -> int:
    """The version that this kernel supports; 0 if it has none or it is disabled."""
    found: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(found, 0)


def restrict(allowed: Iterable[tuple[Path, int]]) -> None:
    """Allow these accesses below these paths, and no others. Raises OSError."""
    known = abi_version()
    handled = max(bits for since, bits in _HANDLED.items() if since <= known)
    attributes = _Ruleset(
        handled,
        _NETWORK if known >= _NETWORK_SINCE else 0,
        _SCOPE if known >= _SCOPE_SINCE else 0,
    )  # a kernel accepts a longer structure than it knows, if the rest is zeros
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    for path, access in allowed:
        _allow(ruleset, path, access & handled)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _error()
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: Path, access: int) -> None:
    file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not path.is_dir():
            access &= EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
        rule = _PathBeneath(access, file)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(file)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        raise _error()
    return result


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
