"""Allow only the system calls that a conversion needs: a filter of seccomp(2).

Strategy. The list has the calls that qemu-img, its libraries and their loader were observed to use
(QEMU 7.2 of Debian 12, every format, with and without threads), and similar ones that affect only
this process and its open files. Every other call fails with ENOSYS, so that libraries fall back to
older ones: sockets, io_uring, new processes, signals to others, and all that changes a file by its
name or changes its permissions or times. Numbers: asm/unistd_64.h and asm-generic/unistd.h of
Linux.

A few calls are allowed with certain arguments only, because others would reach further: a thread
but no process, an open file but not one that opening truncates, a limit or a signal of this
process.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22
_MODE_FILTER = 2

LOAD, AND, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE = 0x00050000 | errno.ENOSYS

_X32_ABI = 0x40000000  # x32: the same machine with other numbers

#: The audit architecture of each supported machine. Both are little-endian.
ARCHITECTURES: Mapping[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

#: Calls that are allowed with any arguments: their numbers on x86_64 and on aarch64, which lacks
#: the older ones.
CALLS: Mapping[str, tuple[int, int | None]] = {
    # open files
    "read": (0, 63),
    "write": (1, 64),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65),
    "writev": (20, 66),
    "preadv": (295, 69),
    "pwritev": (296, 70),
    "preadv2": (327, 286),
    "pwritev2": (328, 287),
    "lseek": (8, 62),
    "close": (3, 57),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "fstat": (5, 80),
    "fstatfs": (138, 44),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "fadvise64": (221, 223),
    "copy_file_range": (326, 285),
    "getdents64": (217, 61),
    # lookups by name; Landlock restricts what may be opened
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    # memory
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    # this process and its threads
    "execve": (59, 221),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "arch_prctl": (158, None),
    "set_tid_address": (218, 96),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "futex": (202, 98),
    "gettid": (186, 178),
    "getpid": (39, 172),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getrusage": (98, 165),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getrandom": (318, 278),
    # waiting, clocks, and incoming signals
    "poll": (7, None),
    "ppoll": (271, 73),
    "pselect6": (270, 72),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    "pipe2": (293, 59),
    "timerfd_create": (283, 85),
    "timerfd_settime": (286, 86),
    "signalfd4": (289, 74),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
}

_CLONE_THREAD = 0x10000
_THREAD_NAMES_AND_TIMERS = (15, 16, 29)  # PR_SET_NAME, PR_GET_NAME, PR_SET_TIMERSLACK
#: Not F_SETOWN, F_SETOWN_EX and F_SETSIG, which let the kernel signal other processes.
_FCNTL_COMMANDS = (
    *(fcntl.F_DUPFD, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL),
    *(fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_OFD_GETLK, fcntl.F_OFD_SETLK),
    *(fcntl.F_OFD_SETLKW, fcntl.F_DUPFD_CLOEXEC),
)

BpfInstruction = tuple[int, int, int, int]  # code, jump if so, jump if not, value


@dataclass(frozen=True, slots=True)
class Condition:
    """The allowed values of an argument after ``mask``; without values, any but 0."""

    argument: int
    values: tuple[int, ...] = ()
    mask: int = 0xFFFFFFFF


def conditions(own_pid: int) -> Mapping[str, tuple[tuple[int, int | None], Condition]]:
    """The calls that are allowed with certain arguments: their numbers and conditions."""
    this_process = (0, own_pid)
    kept = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)  # O_TRUNC would empty a file open for reading
    how = os.O_ACCMODE | os.O_TRUNC
    return {
        "open": ((2, None), Condition(1, kept, how)),
        "openat": ((257, 56), Condition(2, kept, how)),
        "fcntl": ((72, 25), Condition(1, _FCNTL_COMMANDS)),
        "clone": ((56, 220), Condition(0, mask=_CLONE_THREAD)),
        "prctl": ((157, 167), Condition(0, _THREAD_NAMES_AND_TIMERS)),
        "prlimit64": ((302, 261), Condition(0, this_process)),
        "tgkill": ((234, 131), Condition(0, (own_pid,))),  # so that abort() works
    }


def program(machine: str, own_pid: int) -> list[BpfInstruction]:
    """The filter in classic BPF. Raises KeyError for an unsupported machine."""
    architecture = ARCHITECTURES[machine]
    column = list(ARCHITECTURES).index(machine)
    lines: list[BpfInstruction] = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
        (AT_LEAST, 0, 1, _X32_ABI),
        (RETURN, 0, 0, KILL),
    ]
    for numbers in CALLS.values():
        if (number := numbers[column]) is not None:
            lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    for numbers, condition in conditions(own_pid).values():
        if (number := numbers[column]) is not None:
            judged = list(_argument_filter(condition))
            lines += [(EQUAL, 0, len(judged), number), *judged]
    return [*lines, (RETURN, 0, 0, REFUSE)]


def _argument_filter(condition: Condition) -> Iterator[BpfInstruction]:
    """Allow or refuse by an argument's lower half: the checked arguments have 32 bits."""
    yield (LOAD, 0, 0, ARGUMENTS_AT + 8 * condition.argument)
    if not condition.values:
        yield (ANY_BIT, 0, 1, condition.mask)
        yield (RETURN, 0, 0, ALLOW)
    else:
        yield (AND, 0, 0, condition.mask)
    for value in condition.values:
        yield (EQUAL, 0, 1, value)
        yield (RETURN, 0, 0, ALLOW)
    yield (RETURN, 0, 0, REFUSE)


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_so", ctypes.c_uint8),
        ("if_not", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def is_supported() -> bool:
    """Whether this machine's system call numbers are known."""
    return platform.machine() in ARCHITECTURES


def install_filter() -> None:
    """Allow nothing else, for this process and its children. Raises OSError, KeyError."""
    lines = program(platform.machine(), os.getpid())
    code = (_Instruction * len(lines))(*(_Instruction(*line) for line in lines))
    libc = ctypes.CDLL(None, use_errno=True)
    filter_program = _Program(len(lines), code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(filter_program), 0, 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
