"""A root filesystem to boot: Debian 12 with systemd, and a virtual environment for imaged.

Making it takes a minute and the network, so it is kept: in the folder that ``IMAGED_TEST_CACHE``
names, or in the user's cache. Its name is made from its recipe, so another recipe makes another
one. It is never written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
CACHE_VARIABLE = "IMAGED_TEST_CACHE"

SUITE = "bookworm"
PYTHON = "3.11"  # the one of that suite
DEBIAN_PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "iproute2",
    "make",
    "procps",
    "python3-venv",
    "qemu-utils",
    # what pages tell operators to type
    "curl",
    "git",
    "jq",
    "openssl",
    "postgresql",
    "sudo",
    "systemd-timesyncd",
)
VENV = "/opt/imaged"
WHEELS = "/opt/wheels"

#: What boots it: program and Debian's package.
REQUIRED_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "ip": "iproute2",
}


def require_tools() -> None:
    """Fail with what is missing: a machine can be booted by root, with these packages."""
    missing = {package for tool, package in REQUIRED_TOOLS.items() if shutil.which(tool) is None}
    assert not missing, f"apt-get install {' '.join(sorted(missing))}"
    assert os.geteuid() == 0, "only root can boot a machine: run `make test-system` as root"


def root_image() -> Path:
    """The root filesystem; made, if there is none of this recipe."""
    root = _cache() / f"root-{_recipe()}"
    if not root.exists():
        unfinished = root.with_suffix(f".{os.getpid()}")
        try:
            _make(unfinished)
            unfinished.rename(root)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return root


def build_wheel(folder: Path) -> Path:
    """Build imaged as it is now."""
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(PROJECT))
    (wheel,) = folder.glob("imaged-*.whl")
    return wheel


def _make(root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    _run(
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(DEBIAN_PACKAGES)}",
        SUITE,
        str(root),
    )
    wheels = root / WHEELS.lstrip("/")
    _download(wheels, *_dependencies())
    _run("chroot", str(root), "python3", "-m", "venv", VENV)
    names = [f"{WHEELS}/{wheel.name}" for wheel in wheels.iterdir()]
    _run("chroot", str(root), f"{VENV}/bin/pip", "install", "--no-index", "--no-deps", *names)
    for wheel in wheels.iterdir():
        wheel.unlink()
    _download(wheels, *_build_system())  # a machine has no network, and installs as the pages say
    _run("chroot", str(root), "systemctl", "disable", "postgresql")  # not of every machine


def _download(wheels: Path, *requirements: str) -> None:
    _pip(
        "download",
        "--only-binary=:all:",
        f"--python-version={PYTHON}",
        f"--dest={wheels}",
        f"--constraint={PROJECT / 'constraints.txt'}",
        *requirements,
    )


def _recipe() -> str:
    parts = (
        SUITE,
        *DEBIAN_PACKAGES,
        *_dependencies(),
        *_build_system(),
        (PROJECT / "constraints.txt").read_text(),
        Path(__file__).read_text(),
    )
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def _dependencies() -> list[str]:
    return list(_settings()["project"]["dependencies"])


def _build_system() -> list[str]:
    return list(_settings()["build-system"]["requires"])


def _settings() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


def _cache() -> Path:
    folder = os.environ.get(CACHE_VARIABLE)
    if folder:
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imaged-tests"


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}"
