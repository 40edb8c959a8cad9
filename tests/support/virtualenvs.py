"""Virtual environments of their own for programs whose packages do not go together with ours.

Made once for all runs of a user, below ``~/.cache/imaged-tests``.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path.home() / ".cache" / "imaged-tests"

#: A file for each environment with the version of every package in it, as `pip freeze` writes it.
PINNED = Path(__file__).with_name("environments")


def environment(name: str, *packages: str) -> Path:
    """The folder of programs of an environment with these packages and what they need."""
    return _environment(name, "\n".join(packages), *packages)


def pinned_environment(name: str) -> Path:
    """The same with the packages of a file in `environments`, and no others."""
    file = PINNED / f"{name}.txt"
    return _environment(name, file.read_text(), "--no-deps", "--requirement", str(file))


def _environment(name: str, content: str, *arguments: str) -> Path:
    """One for each content: test runs of other versions may be using theirs. A file says that it is
    whole; processes take turns.
    """
    place = CACHE / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    mark = place / "installed"
    with _turn(place.with_name(f"{place.name}.lock")):
        if not mark.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
            pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, *arguments], check=True)
            mark.touch()
    return place / "bin"


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
