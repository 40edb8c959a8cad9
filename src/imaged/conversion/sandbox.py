"""Run a program on untrusted input: ``python -I -m imaged.conversion.sandbox``.

Before the program starts, this process gives up what the program will not need: every file but
those named, every system call that a conversion does without, the ability to gain rights, and
memory, processor time, threads and file size beyond its limits. Its one argument is a
SandboxSettings as JSON. It imports little, so that it starts fast.

Files are restricted by Landlock, part of Linux since 5.13 (landlock(7)). Where the kernel supports
it, TCP is restricted too (version 4, Linux 6.7), and so are signals and abstract sockets of other
processes (version 6, Linux 6.12). Landlock is irrevocable for this process and its children, and
needs no rights. The C library has no functions for it, so the system calls are made by number; the
numbers are the same on every machine.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from imaged.conversion import seccomp

NICENESS = 19  # lowest priority
SANDBOX_FAILED = 125  # the exit status if a limit could not be set: nothing was run

# Programs, their libraries and the files that those read at start. Not all of /usr: an image may
# name files, and operators keep some with secrets in /usr/local.
PROGRAMS = (
    *("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec"),
    *("/bin", "/lib", "/lib32", "/lib64"),
    *("/etc/ld.so.cache", "/etc/ld.so.preload"),
)
DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero")
ENVIRONMENT = {
    "LC_ALL": "C",
    "PATH": "/usr/bin:/bin",
    "MALLOC_ARENA_MAX": "1",  # otherwise each thread takes 128 MiB of the address space
}

_PR_SET_PDEATHSIG = 1
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """A program, and all that it may use."""

    command: Sequence[str]  # the program's full path
    reads: Sequence[str]
    writes: Sequence[str]  # existing files
    memory_bytes: int
    cpu_seconds: int
    file_bytes: int  # the largest file that it may write
    open_files: int = 64
    more_threads: int = 64  # more than its user has at the start
    parent: int = 0  # when it dies, the program is killed; 0: no parent

    def to_json(self) -> str:
        """The argument of the sandbox."""
        return json.dumps(asdict(self))


def main() -> None:
    """Confine this process, and become the program."""
    settings = SandboxSettings(**json.loads(sys.argv[1]))
    try:
        enter_sandbox(settings)
    except OSError as error:
        print(f"it cannot be confined: {error}", file=sys.stderr)  # noqa: T201 - for our parent
        sys.exit(SANDBOX_FAILED)
    command = tuple(settings.command)
    os.execve(command[0], command, ENVIRONMENT)  # noqa: S606 - no shell is wanted


def enter_sandbox(settings: SandboxSettings) -> None:
    """Apply all restrictions. Raises OSError."""
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    if settings.parent:
        _die_with_parent(settings.parent)
    for limit, value in (
        (resource.RLIMIT_AS, settings.memory_bytes),
        (resource.RLIMIT_CPU, settings.cpu_seconds),
        (resource.RLIMIT_FSIZE, settings.file_bytes),
        (resource.RLIMIT_NOFILE, settings.open_files),
        (resource.RLIMIT_NPROC, _count_user_threads() + settings.more_threads),
        (resource.RLIMIT_CORE, 0),
    ):
        _limit(limit, value)
    restrict_access(
        [(path, EXECUTE_ACCESS) for path in _programs(settings) if path.exists()]
        + [(path, WRITE_ACCESS) for path in map(Path, DEVICES) if path.exists()]
        + [(Path(path), READ_ACCESS) for path in settings.reads]
        + [(Path(path), WRITE_ACCESS) for path in settings.writes]
    )
    seccomp.install_filter()


def _programs(settings: SandboxSettings) -> list[Path]:
    """Adds the directory of a program that was built by hand, and its libraries."""
    own = [Path(name).resolve() for name in settings.command[:1]]
    return [*map(Path, PROGRAMS), *own, *(path.parent.parent / "lib" for path in own)]


def _limit(limit: int, value: int) -> None:
    """Set a limit, unless a lower one is already in effect. Raises OSError."""
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


def _count_user_threads() -> int:
    """The number of threads of this process's user, which RLIMIT_NPROC counts. It does not bind
    root; the control group of the service limits root's threads.
    """
    own, threads = str(os.getuid()), 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # it has ended meanwhile
            facts = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            threads += int(facts["Threads"]) if facts["Uid"].split()[0] == own else 0
    return threads


def _die_with_parent(parent: int) -> None:
    """Be killed when the parent dies, so that no orphan goes on working (prctl(2))."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        sys.exit(SANDBOX_FAILED)


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_version() -> int:
    """The version of Landlock that this kernel supports; 0 if it has none or it is disabled."""
    found: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(found, 0)


def restrict_access(allowed: Iterable[tuple[Path, int]]) -> None:
    """Allow these accesses below these paths, and no others. Raises OSError."""
    known = landlock_version()
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


if __name__ == "__main__":
    main()
