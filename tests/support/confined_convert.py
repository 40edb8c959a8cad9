"""Run in a booted machine: ``qemu-img convert`` as a child that may use little and talk to nobody.

    confined_convert.py SOURCE TARGET

What a service under imaged's unit can do to its children: limits of resources, and a filter of
system calls that has no sockets. The filter is inherited and can never be taken off.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import subprocess
import sys

GIB = 1024**3

#: Of the system calls that a socket comes from, by architecture.
SOCKET_CALLS = {"x86_64": (41, 53), "aarch64": (198, 199)}  # socket, socketpair

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LOAD_NUMBER, EQUAL, RETURN = (0x20, 0, 0, 0), 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def confine() -> None:
    """Limit this process and all that it becomes, and let others go first."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (GIB, GIB))
    resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    calls = SOCKET_CALLS[platform.machine()]
    steps = [LOAD_NUMBER]
    steps += [(EQUAL, len(calls) - at, 0, number) for at, number in enumerate(calls)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.cast(code, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def confined(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a child."""
    return subprocess.run(
        command,
        preexec_fn=confine,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def main(source: str, target: str) -> None:
    """Convert, and show what the child may not do."""
    converted = confined("qemu-img", "convert", "-f", "qcow2", "-O", "raw", source, target)
    if converted.returncode:
        sys.exit(converted.stderr)
    talked = confined(sys.executable, "-c", "import socket; socket.socket()")
    if "Permission denied" not in talked.stderr:
        sys.exit(f"the child has a network: {talked.stderr}")
    grown = confined(sys.executable, "-c", "bytearray(2 * 1024**3)")
    if "MemoryError" not in grown.stderr:
        sys.exit(f"the child has no limits: {grown.stderr}")


if __name__ == "__main__":
    main(*sys.argv[1:])
