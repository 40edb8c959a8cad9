"""The page of files has every file that is installed."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/files.md"


def test_installed_files_are_on_the_page(tmp_path: Path) -> None:
    """Every file is described."""
    subprocess.run(
        ["make", "--silent", "install-system", f"DESTDIR={tmp_path}"], cwd=ROOT, check=True
    )
    rows = re.findall(r"(?m)^\| (`/.*?`) \|", PAGE.read_text(encoding="utf-8"))
    known = [path for row in rows for path in re.findall("`([^`]+)`", row)]

    installed = [f"/{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*") if path.is_file()]

    assert len(installed) > 5
    assert not [path for path in installed if not any(fnmatch(path, row) for row in known)]
