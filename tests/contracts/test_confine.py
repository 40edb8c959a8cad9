"""What a confined program can still do: with real programs, kernel and limits."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from imaged.conversion.confine import CANNOT_CONFINE, Confinement
from imaged.core.limits import GIB, MIB
from support.waiting import wait_until

SHELL = "/bin/bash"


def run(
    command: Sequence[str],
    reads: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    *,
    memory_bytes: int = GIB,
    cpu_seconds: int = 60,
    file_bytes: int = MIB,
) -> subprocess.CompletedProcess[str]:
    """Run a program in a confinement."""
    confinement = Confinement(
        command=command,
        reads=[str(path) for path in reads],
        writes=[str(path) for path in writes],
        memory_bytes=memory_bytes,
        cpu_seconds=cpu_seconds,
        file_bytes=file_bytes,
    )
    arguments = [sys.executable, "-I", "-m", "imaged.conversion.confine", confinement.to_json()]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=50)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file that may be read."""
    path = tmp_path / "source"
    path.write_text("ours")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that may be written."""
    path = tmp_path / "target"
    path.touch()
    return path


def test_its_files_are_open_to_it(source: Path, target: Path) -> None:
    """It reads the one and writes the other."""
    done = run([SHELL, "-c", f"cat {source} > {target}"], [source], [target])

    assert (done.returncode, done.stderr) == (0, "")
    assert target.read_text() == "ours"


def test_no_other_file_is(source: Path, tmp_path: Path) -> None:
    """Not its neighbour, not the system's, whoever runs it."""
    neighbour = tmp_path / "neighbour"
    neighbour.write_text("somebody else's")

    for path in (neighbour, Path("/etc/passwd"), Path("/proc/self/environ")):
        done = run(["/bin/cat", str(path)], [source])
        assert done.returncode != 0
        assert done.stdout == ""
        assert "Permission denied" in done.stderr


def test_a_file_that_is_read_is_not_written(source: Path) -> None:
    """The source stays what it is."""
    done = run([SHELL, "-c", f"echo mine > {source}"], [source])

    assert done.returncode != 0
    assert source.read_text() == "ours"


def test_nothing_new_is_made(source: Path, target: Path) -> None:
    """Neither beside its files nor in a folder that everybody may write to."""
    made = source.parent / "made"

    done = run([SHELL, "-c", f"echo mine > {made}; mkdir {made}.d"], [source], [target])

    assert done.returncode != 0
    assert sorted(path.name for path in source.parent.iterdir()) == ["source", "target"]


def test_nobody_can_be_called(source: Path) -> None:
    """A listener on this machine hears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = run([SHELL, "-c", f"echo hello > /dev/tcp/127.0.0.1/{port}"], [source])
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()

    assert done.returncode != 0
    assert "Permission denied" in done.stderr


def test_a_file_stays_small(source: Path, target: Path) -> None:
    """Writing fails at the limit; a pipe is no file."""
    done = run(
        ["/usr/bin/head", "-c", str(4 * MIB), "/dev/zero"], [source], [target], file_bytes=MIB
    )
    assert done.returncode == 0

    script = f"exec head -c {4 * MIB} /dev/zero > {target}"
    done = run([SHELL, "-c", script], [source], [target], file_bytes=MIB)

    assert "File too large" in done.stderr
    assert target.stat().st_size == MIB


def test_it_has_so_much_memory(source: Path) -> None:
    """More is not to be had."""
    script = f"x=$(head -c {256 * MIB} /dev/zero | tr '\\0' x)"

    done = run([SHELL, "-c", script], [source], memory_bytes=128 * MIB)

    assert done.returncode != 0


def test_it_has_so_much_processor_time(source: Path) -> None:
    """Then it is ended."""
    done = run([SHELL, "-c", "while :; do :; done"], [source], cpu_seconds=1)

    assert done.returncode == -signal.SIGKILL


def test_what_cannot_be_confined_is_not_run(source: Path) -> None:
    """It says so with a status of its own."""
    done = run(["/bin/cat", str(source)], [source, source.parent / "missing"])

    assert done.returncode == CANNOT_CONFINE
    assert done.stdout == ""
    assert "cannot be confined" in done.stderr


def test_its_environment_is_empty(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of ours that are there are not handed on."""
    monkeypatch.setenv("IMAGED_STORES__CLOUD__SECRET_KEY", "made-up")

    done = run(["/usr/bin/env"], [source])

    assert done.returncode == 0
    assert "made-up" not in done.stdout


PARENT = """
import os, subprocess, sys
from imaged.conversion.confine import Confinement
sleep = Confinement(
    command=["/bin/sleep", "50"], reads=[], writes=[],
    memory_bytes=2**30, cpu_seconds=60, file_bytes=0, parent=os.getpid(),
)
child = subprocess.Popen([sys.executable, "-I", "-m", "imaged.conversion.confine", sleep.to_json()])
print(child.pid, flush=True)
child.wait()
"""


def test_it_dies_with_its_parent() -> None:
    """A daemon that was killed leaves nobody who works on."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        name = Path(f"/proc/{int(parent.stdout.readline())}/comm")
        wait_until(lambda: name.read_text(encoding="ascii") == "sleep\n")
        parent.kill()
        parent.wait()

        wait_until(lambda: not name.exists())


def test_an_orphan_does_not_begin(source: Path) -> None:
    """Its parent was gone before it could ask to die with it."""
    confinement = Confinement(
        command=["/bin/cat", str(source)],
        reads=[str(source)],
        writes=[],
        memory_bytes=GIB,
        cpu_seconds=60,
        file_bytes=0,
        parent=1,
    )
    arguments = [sys.executable, "-I", "-m", "imaged.conversion.confine", confinement.to_json()]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=50)

    assert (done.returncode, done.stdout) == (CANNOT_CONFINE, "")
