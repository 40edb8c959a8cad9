"""Virtual environments of their own for programs whose packages do not go together with ours.

Made once for all runs of a user, below ``~/.cache/imaged-tests``.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CACHE = Path.home() / ".cache" / "imaged-tests"

#: A file for each environment with the version of every package in it, as `pip freeze` writes it.
PINNED = Path(__file__).with_name("environments")


def environment(name: str, *packages: str) -> Path:
    """The folder of programs of an environment with these packages and what they need."""
    return _environment(name, [*packages])


def pinned_environment(name: str) -> Path:
    """The same with the packages of a file in `environments`, and no others."""
    return _environment(name, ["--no-deps", "--requirement", str(PINNED / f"{name}.txt")])


def _environment(name: str, what: Sequence[str]) -> Path:
    """A file in it says with what it was made; processes of tests take turns."""
    place = CACHE / name
    mark = place / "installed"
    wanted = "\n".join([*what, *(Path(word).read_text() for word in what if word.endswith(".txt"))])
    with _turn(CACHE / f"{name}.lock"):
        if not mark.exists() or mark.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
            pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, *what], check=True)
            mark.write_text(wanted)
    return place / "bin"


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
