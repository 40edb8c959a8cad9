"""The pages become HTML without a warning, and a link into the void is one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(180)


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Do what `make docs` does."""
    return subprocess.run(
        [
            sys.executable, "-m", "sphinx", "-W", "--keep-going", "--quiet",
            "-d", str(target / "doctrees"), str(source), str(target / "html"),
        ],
        capture_output=True,
        check=False,
        text=True,
    )  # fmt: skip


def test_the_pages_build(tmp_path: Path) -> None:
    """Every page, in the table of contents, every link found."""
    done = build(ROOT / "docs", tmp_path)

    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    made = {path.relative_to(tmp_path / "html") for path in (tmp_path / "html").rglob("*.html")}
    assert {page.with_suffix(".html") for page in pages} <= made


def test_a_page_that_leads_into_the_void_fails(tmp_path: Path) -> None:
    """Else a page that was renamed would be missed by readers only."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("_build"))
    with (tmp_path / "docs/tutorial.md").open("a") as page:
        page.write("\n[lost](lost-page.md)\n\n[lost](how-to/install.md#lost-heading)\n")
        page.write("\n:::{toctree}\nlost-contents\n:::\n")

    done = build(tmp_path / "docs", tmp_path)

    assert done.returncode != 0
    found = [what for what in ("page", "heading", "contents") if f"lost-{what}" in done.stderr]
    assert found == ["page", "heading", "contents"]
