"""What a sandboxed program can still do: with real programs, kernel and limits."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from imaged.conversion import sandbox
from imaged.conversion.sandbox import SANDBOX_FAILED, SandboxSettings
from imaged.core.limits import GIB, MIB
from support.waiting import wait_until

DD = "/bin/dd"
QUIET = ("conv=notrunc", "status=none")


def confined(command: Sequence[str] = (), **changes: Any) -> str:
    """The settings of a sandbox, for its command line."""
    usual = {"memory_bytes": GIB, "cpu_seconds": 60, "file_bytes": MIB, "reads": [], "writes": []}
    return SandboxSettings(command=command, **{**usual, **changes}).to_json()


def run(
    command: Sequence[str], reads: Sequence[Path] = (), writes: Sequence[Path] = (), **limits: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program in the sandbox."""
    paths = {"reads": [*map(str, reads)], "writes": [*map(str, writes)]}
    return python("-I", "-m", "imaged.conversion.sandbox", confined(command, **paths, **limits))


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=50
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file that it may read."""
    path = tmp_path / "source"
    path.write_text("ours")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that it may write."""
    path = tmp_path / "target"
    path.touch()
    return path


def test_its_files_are_open_to_it(source: Path, target: Path) -> None:
    """It reads the one and writes the other."""
    done = run([DD, f"if={source}", f"of={target}", *QUIET], [source], [target])

    assert (done.returncode, done.stderr) == (0, "")
    assert target.read_text() == "ours"


def test_no_other_file_is(source: Path, tmp_path: Path) -> None:
    """Not its neighbour, not the system's, also for root."""
    neighbour = tmp_path / "neighbour"
    neighbour.write_text("another program's")

    of_a_package = next(
        path for path in Path("/usr/share").rglob("*") if path.is_file() and not path.is_symlink()
    )
    for path in (neighbour, Path("/etc/passwd"), Path("/proc/self/environ"), of_a_package):
        done = run(["/bin/cat", str(path)], [source])
        assert done.returncode != 0
        assert done.stdout == ""
        assert "Permission denied" in done.stderr


def test_a_program_that_was_built_by_hand(source: Path, tmp_path: Path) -> None:
    """It runs from anywhere, with the libraries beside it, and reads nothing else there."""
    for folder in ("bin", "lib", "etc"):
        (tmp_path / "local" / folder).mkdir(parents=True)
    program = shutil.copy("/bin/cat", tmp_path / "local" / "bin")
    library, secret = tmp_path / "local/lib/library", tmp_path / "local/etc/secret"
    library.write_text("a library")
    secret.write_text("another program's")

    done = run([str(program), str(source), str(library), str(secret)], [source])

    assert done.stdout == "oursa library"
    assert "Permission denied" in done.stderr


def test_a_file_that_is_read_is_not_written(source: Path) -> None:
    """The source stays unchanged."""
    done = run([DD, "if=/dev/zero", "count=1", f"of={source}", *QUIET], [source])

    assert "Permission denied" in done.stderr
    assert source.read_text() == "ours"


def test_nothing_new_is_made(source: Path, target: Path) -> None:
    """Not beside its files either."""
    made = source.parent / "made"

    done = run([DD, f"if={source}", f"of={made}", *QUIET], [source], [target])

    assert done.returncode != 0
    assert sorted(path.name for path in source.parent.iterdir()) == ["source", "target"]


def test_a_file_stays_small(source: Path, target: Path) -> None:
    """Writing fails at the limit."""
    script = [DD, "if=/dev/zero", "bs=64K", "count=64", f"of={target}", *QUIET]
    done = run(script, [source], [target], file_bytes=MIB)

    assert "File too large" in done.stderr
    assert target.stat().st_size == MIB


def test_memory_is_limited(source: Path) -> None:
    """It cannot allocate more."""
    script = [DD, "if=/dev/zero", "bs=256M", "count=1", "of=/dev/null", *QUIET]

    assert run(script, [source], memory_bytes=128 * MIB).returncode != 0
    assert run(script, [source], memory_bytes=512 * MIB).returncode == 0


def test_processor_time_is_limited(source: Path) -> None:
    """Then it is killed."""
    done = run([DD, "if=/dev/zero", "of=/dev/null", *QUIET], [source], cpu_seconds=1)

    assert done.returncode == -signal.SIGKILL


def test_without_a_sandbox_nothing_runs(source: Path) -> None:
    """It exits with a status of its own."""
    done = run(["/bin/cat", str(source)], [source, source.parent / "missing"])

    assert done.returncode == SANDBOX_FAILED
    assert done.stdout == ""
    assert "cannot be confined" in done.stderr


def test_its_environment_is_empty(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of the daemon's environment are not passed on."""
    monkeypatch.setenv("IMAGED_STORES__CLOUD__SECRET_KEY", "made-up")

    done = run(["/usr/bin/env"], [source])

    assert done.returncode == 0
    assert "made-up" not in done.stdout


PARENT = """
import json, os, subprocess, sys
sleep = json.dumps({**json.loads(sys.argv[1]), "parent": os.getpid()})
child = subprocess.Popen([sys.executable, "-I", "-m", "imaged.conversion.sandbox", sleep])
print(child.pid, flush=True)
child.wait()
"""


def test_it_dies_with_its_parent() -> None:
    """A killed daemon leaves no running program."""
    command = [sys.executable, "-c", PARENT, confined(["/bin/sleep", "50"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        name = Path(f"/proc/{int(parent.stdout.readline())}/comm")
        wait_until(lambda: name.read_text(encoding="ascii") == "sleep\n")
        parent.kill()
        parent.wait()

        wait_until(lambda: not name.exists())


def test_an_orphan_does_not_begin(source: Path) -> None:
    """Its parent died before it could ask to die with it."""
    done = run(["/bin/cat", str(source)], [source], parent=1)

    assert (done.returncode, done.stdout) == (SANDBOX_FAILED, "")


NOT_THERE = "Function not implemented"

ATTEMPTS = """
import ctypes, fcntl, json, os, resource, signal, socket, sys
from imaged.conversion.sandbox import SandboxSettings, enter_sandbox

victim, neighbour, folder = int(sys.argv[2]), sys.argv[3], sys.argv[4]
libc = ctypes.CDLL(None, use_errno=True)
pipe = os.pipe()
pidfd = os.pidfd_open(victim)
enter_sandbox(SandboxSettings(**json.loads(sys.argv[1])))


def raw(*call):
    if libc.syscall(*(ctypes.c_long(part) for part in call)) < 0:
        raise OSError(ctypes.get_errno(), "")


def function(name, *arguments):
    if getattr(libc, name)(*arguments) in (-1, None):
        raise OSError(ctypes.get_errno(), "")


new = os.path.join(folder, "new")
attempts = {
    "kill": lambda: os.kill(victim, signal.SIGKILL),
    "kill its group": lambda: os.kill(0, signal.SIGCONT),
    "kill a thread": lambda: raw(234 if os.uname().machine == "x86_64" else 131, victim, victim, 9),
    "signal by a descriptor": lambda: signal.pidfd_send_signal(pidfd, signal.SIGKILL),
    "a descriptor of a process": lambda: os.pidfd_open(victim),
    "a descriptor of a process's": lambda: raw(438, pidfd, 0, 0),
    "own a pipe": lambda: fcntl.fcntl(pipe[0], fcntl.F_SETOWN, victim),
    "a signal for a pipe": lambda: fcntl.fcntl(pipe[0], fcntl.F_SETSIG, signal.SIGKILL),
    "ioctl": lambda: function("ioctl", pipe[0], 0x8901, 0),
    "another's limits": lambda: resource.prlimit(victim, resource.RLIMIT_CPU, (1, 1)),
    "another's priority": lambda: os.setpriority(os.PRIO_PROCESS, victim, 19),
    "another's processors": lambda: os.sched_setaffinity(victim, {0}),
    "another's memory": lambda: function("process_vm_readv", victim, 0, 0, 0, 0, 0),
    "trace": lambda: function("ptrace", 16, victim, 0, 0),
    "chmod": lambda: os.chmod(neighbour, 0o777),
    "chmod of the target": lambda: os.fchmod(pipe[1], 0o777),
    "chown": lambda: os.chown(neighbour, 0, 0),
    "times": lambda: os.utime(neighbour, (1, 1)),
    "truncate": lambda: os.truncate(neighbour, 0),
    "open and truncate": lambda: os.open(neighbour, os.O_RDONLY | os.O_TRUNC),
    "an attribute": lambda: os.setxattr(neighbour, "user.x", b"x"),
    "remove": lambda: os.unlink(neighbour),
    "rename": lambda: os.rename(neighbour, new),
    "link": lambda: os.link(neighbour, new),
    "a symbolic link": lambda: os.symlink(neighbour, new),
    "a folder": lambda: os.mkdir(new),
    "a pipe with a name": lambda: os.mkfifo(new),
    "a file in memory": lambda: os.memfd_create("x"),
    "a socket": lambda: socket.socket(socket.AF_UNIX),
    "a pair of sockets": lambda: socket.socketpair(),
    "a process": os.fork,
    "a process by clone3": lambda: raw(435, 0, 0),
    "a session": os.setsid,
    "a namespace": lambda: function("unshare", 0x10000000),
    "a mount": lambda: function("mount", b"none", folder.encode(), b"tmpfs", 0, None),
    "another user": lambda: os.setuid(1),
    "io_uring": lambda: raw(425, 1, 0),
    "openat2": lambda: raw(437, 0, 0, 0, 0),
    "shared memory": lambda: function("shmget", 0, 4096, 0o1600),
    "a queue": lambda: function("mq_open", b"/x", os.O_CREAT, 0o600, None),
    "watch files": lambda: function("inotify_init1", 0),
    "outlive its parent": lambda: function("prctl", 1, 0, 0, 0, 0),
    "a personality": lambda: function("personality", 0x0040000),
    "another filter": lambda: function("prctl", 22, 2, 0, 0, 0),
    "a performance counter": lambda: function("umount2", folder.encode(), 0),
}
outcomes = {}
for name, attempt in attempts.items():
    try:
        attempt()
        outcomes[name] = "it was done"
    except OSError as error:
        outcomes[name] = os.strerror(error.errno)
print(json.dumps(outcomes))
"""


@pytest.fixture
def victim() -> Iterator[int]:
    """Another process of the same user."""
    with subprocess.Popen(["/bin/sleep", "300"]) as process:
        yield process.pid
        process.kill()


def test_each_call_that_reaches_others_is_refused(
    tmp_path: Path, target: Path, victim: int
) -> None:
    """Called from within: none is carried out, and each fails with ENOSYS."""
    neighbour = tmp_path / "neighbour"
    neighbour.write_text("another program's")
    before = neighbour.stat()

    done = python(
        *("-c", ATTEMPTS, confined(writes=[str(target)])),
        *(str(victim), str(neighbour), str(tmp_path)),
    )

    assert done.stderr == ""
    outcomes = json.loads(done.stdout)
    assert len(outcomes) > 40
    assert {name: said for name, said in outcomes.items() if said != NOT_THERE} == {}
    assert neighbour.stat() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["neighbour", "target"]
    assert Path(f"/proc/{victim}/comm").read_text(encoding="ascii") == "sleep\n"


SIGNALS = """
import os, sys
from imaged.conversion import sandbox
sandbox.restrict_access([])
try:
    os.kill(int(sys.argv[1]), 0)
except PermissionError:
    print("refused")
"""


@pytest.mark.skipif(sandbox.landlock_version() < 6, reason="its kernel has no scopes of Landlock")
def test_landlock_alone_refuses_signals_where_it_can(victim: int) -> None:
    """A second barrier behind the list of system calls."""
    done = python("-c", SIGNALS, str(victim))

    assert (done.stdout, done.stderr) == ("refused\n", "")


LIMITS = """
import json, resource, sys
from imaged.conversion.sandbox import SandboxSettings, enter_sandbox
enter_sandbox(SandboxSettings(**json.loads(sys.argv[1])))
print(resource.getrlimit(resource.RLIMIT_NPROC)[1])
"""


def test_the_number_of_threads_is_limited() -> None:
    """To those that its user has already plus a few; and to its parent's limit."""
    told = [
        int(python("-c", LIMITS, confined(more_threads=threads)).stdout)
        for threads in (0, 10_000, 2**40)
    ]

    assert 0 < told[0] < 100_000
    assert told[0] < told[1]
    assert told[2] >= told[1]
