"""Give up the network: a filter of system calls (seccomp(2)) that refuses to make sockets.

Landlock could do it for TCP alone, and on newer kernels. ``io_uring`` is refused too, because its
operations are no system calls, and so would pass.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22
_MODE_FILTER = 2

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # where they are in struct seccomp_data

_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE = 0x00050000 | errno.EACCES

_OTHER_ABI = 0x40000000  # x32: the same machine under other numbers
_IO_URING_SETUP = 425

_MACHINES = {  # the audit architecture, and the numbers of socket and socketpair
    "x86_64": (0xC000003E, 41, 53),
    "aarch64": (0xC00000B7, 198, 199),
    "riscv64": (0xC00000F3, 198, 199),
    "ppc64le": (0xC0000015, 326, 327),
    "s390x": (0x80000016, 359, 360),
}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_so", ctypes.c_uint8),
        ("if_not", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def is_known() -> bool:
    """Whether the numbers of this machine's system calls are known."""
    return platform.machine() in _MACHINES


def refuse_sockets() -> None:
    """From now on, for this process and all that it starts. Raises OSError."""
    architecture, *refused = _MACHINES[platform.machine()]
    refused = [*refused, _IO_URING_SETUP]
    count = len(refused)
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, count + 3, architecture),  # else: kill
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, count + 1, 0, _OTHER_ABI),  # then: kill
        *((_EQUAL, count + 1 - place, 0, number) for place, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL),
        (_RETURN, 0, 0, _REFUSE),
    ]
    code = (_Instruction * len(lines))(*(_Instruction(*line) for line in lines))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(lines), code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
