"""Virtual environments of their own for servers whose packages do not go together with ours.

Made once for all runs of a user, below ``~/.cache/imaged-tests``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def environment(name: str, *packages: str) -> Path:
    """The folder of programs of an environment with these packages; a file says it is whole."""
    place = Path.home() / ".cache" / "imaged-tests" / name
    mark = place / "installed"
    if not mark.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *packages], check=True)
        mark.touch()
    return place / "bin"
