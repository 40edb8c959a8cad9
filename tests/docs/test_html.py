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
    pages = tmp_path / "docs"
    pages.mkdir()
    shutil.copy(ROOT / "docs/conf.py", pages)
    (pages / "page.md").write_text("# Page\n")
    (pages / "index.md").write_text(
        "# Pages\n\n[lost](lost-page.md)\n\n[lost](page.md#lost-heading)\n"
        "\n:::{toctree}\npage\nlost-contents\n:::\n"
    )

    done = build(pages, tmp_path)

    assert done.returncode != 0
    found = [what for what in ("page", "heading", "contents") if f"lost-{what}" in done.stderr]
    assert found == ["page", "heading", "contents"]
